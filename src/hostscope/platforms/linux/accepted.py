"""What the kernel program does not know of connections: who listened before it ran, and their local ports at the end,
when the kernel has taken them away."""

from collections.abc import Iterable

from msgspec.structs import replace

from hostscope.model.key import ProcessKey
from hostscope.model.socket import Endpoint, Socket
from hostscope.platforms.linux.event_record import SocketState

ESTABLISHED, CLOSE = 1, 7
MOST_CONNECTIONS = 65_536

Connection = tuple[int, str, str, Endpoint]


class LocalPorts:
    """Remembers the ports of connections that are made, up to their end; the oldest are forgotten first.

    The kernel program knows ports of sockets whose process it saw; who listened before it ran it never saw.
    """

    def __init__(self) -> None:
        self._ports: dict[Connection, int | None] = {}

    def complete(self, found: SocketState) -> SocketState:
        """The same with its port, or with None for one that nobody knows any more; never 0."""
        connection = (found.net_ns, found.protocol, found.local.address, found.remote)
        if found.new_state == ESTABLISHED:
            self._remember(connection, found.local.port)
        known = self._ports.pop(connection, None) if found.new_state == CLOSE else None
        if found.local.port:
            return found
        return found._replace(local=replace(found.local, port=known))

    def _remember(self, connection: Connection, port: int | None) -> None:
        if len(self._ports) >= MOST_CONNECTIONS:
            del self._ports[next(iter(self._ports))]
        self._ports[connection] = port


class Listeners:
    """Who listened before we watched, by network namespace and local end; whoever came later the program knows."""

    def __init__(self, sockets: Iterable[Socket]) -> None:
        self._known: dict[tuple[int | None, str, int], ProcessKey | None] = {}
        for socket in sockets:
            if socket.local is not None and socket.local.port:
                self._take((socket.net_ns, socket.local.address, socket.local.port), socket)

    def of(self, net_ns: int, local: Endpoint) -> ProcessKey | None:
        """Of those that share a socket the one that is oldest; None where several sockets listen at one place."""
        anywhere = ("::",) if ":" in local.address else ("0.0.0.0", "::")
        for address in (local.address, *anywhere):
            if (place := (net_ns, address, local.port or 0)) in self._known:
                return self._known[place]
        return None

    def _take(self, place: tuple[int | None, str, int], socket: Socket) -> None:
        keys = [owner.key for owner in socket.owners or ()]
        oldest = min(keys, key=lambda key: (key.start, key.pid), default=None)
        self._known[place] = oldest if self._known.get(place, oldest) == oldest else None
