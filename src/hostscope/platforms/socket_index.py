"""Whose packet it is: ends of connections to who holds them. Pure; for what the kernel counts and what is captured."""

from collections.abc import Iterable

from msgspec import Struct

from hostscope.model.key import ProcessKey
from hostscope.model.process import Account
from hostscope.model.socket import Endpoint, Socket
from hostscope.model.traffic import Flow

ANYWHERE = frozenset({"0.0.0.0", "::"})
KERNEL, GONE = "kernel", "gone"
_SAME_PACKETS = {"mptcp": "tcp", "quic": "udp"}
"""Sockets of these send packets of those."""
_CLOSING = frozenset({"time-wait", "fin-wait-1", "fin-wait-2", "last-ack", "closing", "close", "close-wait"})

Ends = tuple[str, str, int | None, str, int | None]
"""Protocol, local address and port, remote address and port."""


class Holder(Struct, frozen=True, gc=False):
    """Who holds a socket, or why nobody does."""

    key: ProcessKey | None
    name: str | None
    unknown: str | None
    user: Account | None
    cookie: int | None
    address: str
    """Local."""
    direction: str | None = None
    used_bytes: int = 0
    """By this process: of several that hold a socket, the one that uses it most gets its packets."""


class SocketIndex:
    """Sockets of one network namespace by their ends."""

    def __init__(self) -> None:
        self._connected: dict[Ends, Holder] = {}
        self._bound: dict[tuple[str, int | None], dict[object, Holder]] = {}
        self._by_cookie: dict[int, Holder] = {}

    def add(self, protocol: str, local: Endpoint, remote: Endpoint | None, holder: Holder) -> None:
        """Adds a socket; what is added later hides what was there with the same ends and was used less."""
        protocol = _SAME_PACKETS.get(protocol, protocol)
        if holder.cookie is not None:
            self._by_cookie[holder.cookie] = _better(self._by_cookie.get(holder.cookie), holder)
        if remote is not None:
            ends = (protocol, local.address, local.port, remote.address, remote.port)
            self._connected[ends] = _better(self._connected.get(ends), holder)
        else:
            self._bound.setdefault((protocol, local.port), {})[holder.cookie, holder.key, holder.address] = holder

    def connected(self, ends: Ends) -> Holder | None:
        """The socket that is connected so."""
        return self._connected.get(ends)

    def find(self, ends: Ends, cookie: int = 0) -> Holder | None:
        """Who sends or gets packets with these ends: a connected socket, the one of that cookie, or one bound there.

        Of several bound ones it is the only process's, or the heaviest user's.
        """
        found = self._connected.get(ends) or self._by_cookie.get(cookie)
        if found is not None:
            return found
        protocol, address, port, _, _ = ends
        bound = [*self._bound_to(protocol, port), *(self._bound_to(protocol, None) if port is not None else ())]
        exact = [holder for holder in bound if holder.address == address]
        return _heaviest(exact or [holder for holder in bound if holder.address in ANYWHERE])

    def _bound_to(self, protocol: str, port: int | None) -> Iterable[Holder]:
        return self._bound.get((protocol, port), _NONE).values()


_NONE: dict[object, Holder] = {}


class HostSockets:
    """Sockets of all network namespaces."""

    def __init__(self) -> None:
        self._of: dict[int | None, SocketIndex] = {}

    def index(self, net_ns: int | None) -> SocketIndex:
        """The sockets of one namespace."""
        return self._of.setdefault(net_ns, SocketIndex())

    def elsewhere(self, net_ns: int | None, ends: Ends) -> Holder | None:
        """Who holds a socket that is connected so in another namespace."""
        found = (index.connected(ends) for other, index in self._of.items() if other != net_ns)
        return next(filter(None, found), None)

    def add_socket(self, socket: Socket) -> None:
        """Adds a socket that there is."""
        if socket.local is not None and socket.protocol is not None:
            holder = _holder_of_socket(socket, socket.local)
            self.index(socket.net_ns).add(socket.protocol, socket.local, socket.remote, holder)

    def add_flow(self, flow: Flow) -> None:
        """Adds what a process did with a socket; again when it did more."""
        self.index(flow.net_ns).add(flow.protocol, flow.local, flow.remote, _holder_of_flow(flow))


def _holder_of_flow(flow: Flow) -> Holder:
    used = flow.payload.total_bytes + 1 if flow.payload else 0
    return Holder(flow.key, flow.name, flow.unknown, flow.user, flow.cookie, flow.local.address, flow.direction, used)


def _holder_of_socket(socket: Socket, local: Endpoint) -> Holder:
    """Sockets without a holder are the kernel's, or are closing; an unread holder is not known."""
    if socket.owners:
        owner = socket.owners[0]
        return Holder(owner.key, owner.name, None, socket.user, socket.cookie, local.address, socket.direction)
    unknown = KERNEL if socket.owners == () and socket.state not in _CLOSING else GONE
    return Holder(None, None, unknown, socket.user, socket.cookie, local.address, socket.direction)


def _better(before: Holder | None, new: Holder) -> Holder:
    """A process before none, then the one that uses it more."""
    if before is None or (new.key is not None, new.used_bytes) >= (before.key is not None, before.used_bytes):
        return new
    return before


def _heaviest(holders: list[Holder]) -> Holder | None:
    return max(holders, key=lambda holder: (holder.key is not None, holder.used_bytes), default=None)
