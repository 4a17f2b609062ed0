"""Whose socket sent a packet: listing sockets again and again, as rarely as that allows."""

from collections import defaultdict
from collections.abc import Iterator
from time import monotonic_ns, time_ns

from hostscope.collectors.errors import gap_for
from hostscope.errors import Error
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Endpoint, Socket, SocketOwner, SocketRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally
from hostscope.wire.stubs import is_loopback

SHARE = 5
"""Listing takes at most the fifth part of the time."""
LISTENER_AGE_NS = 10_000_000_000
ANYWHERE = frozenset({"0.0.0.0", "::"})
_GONE = "its socket had closed when it was looked up"
_BUSY = "sockets come and go faster than they can be listed"


class SocketOwners:
    """Answers `hostscope.wire.queries.OwnerOf` for sockets that are still open.

    A list of sockets answers for packets from before it was made, because ports are used again. Cost: one sweep of
    the host's sockets for all packets that came since the one before.
    """

    def __init__(self, host: Host, net_ns: int | None = None) -> None:
        """`net_ns` is where the packets pass; a loopback address is another one in each namespace."""
        self._host = host
        self._net_ns = net_ns
        self._namespaces: dict[str, set[int | None]] | None = None
        self._sockets: dict[tuple[str, int], list[Socket]] = {}
        self._listed_at_ns = 0
        self._next_ns = 0
        self._failed: Gap | None = None

    def listener(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> SocketOwner | Gap | None:
        """The same for a server's socket, which stays: what a list of the last seconds says is believed."""
        fresh = at_ns - self._listed_at_ns < LISTENER_AGE_NS
        found = self._best(protocol, local, remote) if fresh else []
        return _owner(found[0]) if len(found) == 1 else self.owner_of(protocol, local, remote, at_ns)

    def namespaces(self) -> int:
        """How many network namespaces have addresses here."""
        return len({inode for inodes in self._addresses().values() for inode in inodes})

    def owner_of(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> SocketOwner | Gap | None:
        """The process with the lowest pid that holds the socket; None when the address is not this host's."""
        if not self.is_local(local.address):
            return None
        if at_ns >= self._listed_at_ns and not self._list():
            return self._failed or Gap("key", Reason.UNAVAILABLE, _BUSY)
        found = self._best(protocol, local, remote)
        if not found:
            return Gap("key", Reason.GONE, _GONE)
        if len({socket.inode for socket in found}) > 1 and len({_first(socket) for socket in found}) > 1:
            return Gap("key", Reason.UNAVAILABLE, f"{len(found)} sockets have this port")
        return _owner(found[0])

    def is_local(self, address: str) -> bool:
        """Whether it is an address of this host, in any of its network namespaces, as far as they can be seen."""
        return address in self._addresses() or is_loopback(address)

    def _addresses(self) -> dict[str, set[int | None]]:
        """Addresses of this host and the namespaces they are in; read once."""
        if self._namespaces is None:
            self._namespaces = defaultdict(set)
            try:
                for interface in self._host.interfaces.interfaces(Tally()):
                    for address in interface.addresses:
                        self._namespaces[address.address.partition("%")[0]].add(interface.net_ns)
            except Error as failed:
                self._failed = gap_for("key", failed)
        return self._namespaces

    def _list(self) -> bool:
        """Lists sockets, unless that was done a moment ago."""
        began_ns = monotonic_ns()
        if began_ns < self._next_ns:
            return False
        listed_at_ns, found = time_ns(), defaultdict(list)
        try:
            for socket in self._host.sockets.sweep(SocketRequest(tcp_details=False), Tally()):
                if socket.local is not None and socket.local.port and socket.protocol is not None:
                    found[socket.protocol, socket.local.port].append(socket)
        except Error as failed:
            self._failed = gap_for("key", failed)
            return False
        finally:
            self._next_ns = monotonic_ns() + (SHARE - 1) * (monotonic_ns() - began_ns)
        self._sockets, self._listed_at_ns, self._failed = dict(found), listed_at_ns, None
        return True

    def _best(self, protocol: str, local: Endpoint, remote: Endpoint) -> list[Socket]:
        """The sockets that fit best: connected to the remote end, bound to the address, or to any address."""
        ranked = [(rank, socket) for rank, socket in self._ranked(protocol, local, remote) if rank]
        best = max((rank for rank, _ in ranked), default=0)
        return [socket for rank, socket in ranked if rank == best]

    def _ranked(self, protocol: str, local: Endpoint, remote: Endpoint) -> Iterator[tuple[int, Socket]]:
        namespaces = self._addresses().get(local.address)
        if self._net_ns is not None and is_loopback(local.address):
            namespaces = {self._net_ns}
        for socket in self._sockets.get((protocol, local.port or 0), ()):
            if not namespaces or socket.net_ns is None or socket.net_ns in namespaces or None in namespaces:
                yield _rank(socket, local, remote), socket


def _rank(socket: Socket, local: Endpoint, remote: Endpoint) -> int:
    """0 when it cannot be this socket."""
    if socket.local is None or _plain(socket.local.address) not in (local.address, *ANYWHERE):
        return 0
    peer = socket.remote
    if peer is not None and peer.port and (_plain(peer.address), peer.port) != (remote.address, remote.port):
        return 0
    return 1 + (_plain(socket.local.address) == local.address) + 2 * bool(peer is not None and peer.port)


def _plain(address: str) -> str:
    """Without the scope, and an IPv4-mapped address as the IPv4 address that packets have."""
    return address.partition("%")[0].removeprefix("::ffff:")


def _first(socket: Socket) -> SocketOwner | None:
    return min(socket.owners, key=lambda owner: owner.key.pid) if socket.owners else None


def _owner(socket: Socket) -> SocketOwner | Gap:
    if socket.owners is None:
        denied = next((gap for gap in socket.gaps if gap.field == "owners"), None)
        reason, detail = (denied.reason, denied.detail) if denied else (Reason.UNAVAILABLE, None)
        return Gap("key", reason, detail)
    return _first(socket) or Gap("key", Reason.GONE, "no process holds the socket any more")
