"""Local ports of connections: when the last word of one comes, the kernel has taken its port away."""

from msgspec.structs import replace

from hostscope.model.socket import Endpoint
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
