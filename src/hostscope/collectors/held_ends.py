"""Ends of connections to the processes that used them, and when. Pure."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from msgspec import Struct

from hostscope.model.socket import Endpoint, Socket, SocketOwner
from hostscope.model.traffic import Flow

GONE, DENIED, KERNEL, ELSEWHERE = "gone", "denied", "kernel", "other-namespace"
"""As `hostscope.model.traffic.Flow.unknown`; ``denied``: there is a process that may not be seen."""
FOREVER = 1 << 63
SLACK_NS = 1_000_000_000
"""A call is counted when it begins or ends, a packet when it passes: so far their times may be apart."""
WITH_PORTS = frozenset({"tcp", "udp", "udplite", "sctp", "dccp"})
_ANY_FOUR, _ANY_SIX = "0.0.0.0", "::"
_SAME_PACKETS = {"mptcp": "tcp", "quic": "udp"}
"""Sockets of these send packets of those."""

Places = frozenset[int | None] | None
"""Network namespaces that have an address; None when that is not known."""


class Use(Struct, frozen=True, gc=False):
    """A socket in the hands of processes, for a time."""

    protocol: str
    local: Endpoint
    remote: Endpoint | None
    """None for one that takes packets of many peers."""
    by: tuple[SocketOwner, ...]
    unknown: str | None
    """Why that is empty."""
    net_ns: int | None
    socket: object
    """Tells sockets apart."""
    first_ns: int = 0
    last_ns: int = FOREVER

    def distance(self, at_ns: int) -> int:
        """How far a moment lies outside that time."""
        return max(0, self.first_ns - at_ns, at_ns - self.last_ns)


class Found(NamedTuple):
    """Who used an end."""

    by: tuple[SocketOwner, ...]
    unknown: str | None = None
    sockets: int = 1
    """How many have that end: with SO_REUSEPORT it is one of several, and nobody says which."""


class HeldEnds:
    """Uses by their ends, for packets that are seen in one network namespace."""

    def __init__(self, net_ns: int | None) -> None:
        self._net_ns = net_ns
        self._connected: dict[tuple[str, Endpoint, Endpoint], dict[object, Use]] = {}
        self._waiting: dict[tuple[str, int | None], dict[object, Use]] = {}
        self.count = 0

    def add(self, token: object, use: Use) -> None:
        """Adds a use, or puts it in the place of the one with that token and those ends."""
        uses: dict[object, Use]
        if use.remote is None:
            uses = self._waiting.setdefault((use.protocol, use.local.port), {})
        else:
            uses = self._connected.setdefault((use.protocol, use.local, use.remote), {})
        self.count += token not in uses
        uses[token] = use

    def connected(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int, places: Places) -> Found | None:
        """Of the socket that was connected so, the one that was used nearest to that moment.

        A TCP connection has packets long after anyone used it; the ends of others may soon be another socket's.
        """
        uses = self._connected.get((protocol, local, remote))
        return self._nearest(uses.values(), at_ns, FOREVER if protocol == "tcp" else SLACK_NS, places) if uses else None

    def waiting(self, protocol: str, local: Endpoint, at_ns: int, places: Places) -> Found | None:
        """Of sockets that were bound to that address, else to any, and used near to that moment."""
        uses = self._waiting.get((protocol, local.port))
        if not uses:
            return None
        bound = [use for use in uses.values() if use.local.address == local.address]
        anywhere = (_ANY_SIX,) if ":" in local.address else (_ANY_FOUR, _ANY_SIX)
        wide = [use for use in uses.values() if use.local.address in anywhere]
        found = self._nearest(bound, at_ns, SLACK_NS, places) if bound else None
        return found or self._nearest(wide, at_ns, SLACK_NS, places)

    def _nearest(self, uses: Iterable[Use], at_ns: int, slack_ns: int, places: Places) -> Found | None:
        near = [use for use in uses if use.distance(at_ns) <= slack_ns and self._may_be(use, places)]
        if not near:
            return None
        here = [use for use in near if use.net_ns == self._net_ns] or near
        if len({use.net_ns for use in here}) > 1 and len({use.by for use in here}) > 1:
            return Found((), ELSEWHERE)
        here.sort(key=lambda use: (not use.by, use.distance(at_ns)))
        best = (not here[0].by, here[0].distance(at_ns))
        sockets = {use.socket for use in here if (not use.by, use.distance(at_ns)) == best}
        owners = {owner.key: owner for use in here if use.socket in sockets for owner in use.by}
        return Found(tuple(owners.values()), None if owners else here[0].unknown, len(sockets))

    def _may_be(self, use: Use, places: Places) -> bool:
        return places is None or None in places or use.net_ns is None or use.net_ns in places


def use_of_socket(one: Socket) -> Use | None:
    """A socket that is there; None for one without ends."""
    if one.local is None or one.protocol is None:
        return None
    by = tuple(sorted(one.owners or (), key=lambda owner: owner.key.pid))
    why = DENIED if one.owners is None else KERNEL if one.inode else GONE
    ends = _ends(one.protocol, one.local, one.remote)
    return Use(*ends, by, None if by else why, one.net_ns, one.inode or one.cookie or id(one))


def use_of_flow(flow: Flow) -> Use:
    """What a process did with a socket."""
    by = (SocketOwner(flow.key, flow.name or "?"),) if flow.key else ()
    ends = _ends(flow.protocol, flow.local, flow.remote)
    times = flow.first_at_ns or 0, FOREVER if flow.last_at_ns is None else flow.last_at_ns
    return Use(
        *ends, by, None if by else flow.unknown or GONE, flow.net_ns, flow.cookie or (flow.key, id(flow)), *times
    )


def _ends(protocol: str, local: Endpoint, remote: Endpoint | None) -> tuple[str, Endpoint, Endpoint | None]:
    protocol = _SAME_PACKETS.get(protocol, protocol)
    if protocol not in WITH_PORTS:
        connected = remote is not None and remote.address not in ("", _ANY_FOUR, _ANY_SIX)
        peer = Endpoint(plain(remote).address) if connected and remote else None
        return protocol, Endpoint(plain(local).address), peer
    return protocol, plain(local), plain(remote) if remote is not None and remote.port else None


def plain(end: Endpoint) -> Endpoint:
    """The end of an IPv4 connection through an IPv6 socket, as the packets have it; without a scope."""
    address = end.address
    if address.startswith("::ffff:") and "." in address:
        return Endpoint(address.removeprefix("::ffff:"), end.port)
    return Endpoint(address.partition("%")[0], end.port) if "%" in address else end


@lru_cache(65_536)
def is_loopback(address: str) -> bool:
    """Whether only this host, and in it one network namespace, can have that address."""
    return ip_address(address).is_loopback


@lru_cache(65_536)
def is_to_many(address: str) -> bool:
    """Multicast, or broadcast to everybody."""
    return ip_address(address).is_multicast or address == "255.255.255.255"


class CountedEnds:
    """Uses that a meter tells of, kept up with its readings."""

    def __init__(self, net_ns: int | None) -> None:
        self._net_ns = net_ns
        self._before: dict[int, Flow] = {}
        self.ends = HeldEnds(net_ns)

    def update(self, flows: tuple[Flow, ...]) -> None:
        """Takes all flows of a reading. Cost: 0.1 µs for a flow that is the same object as before, 4 µs for others."""
        now = {id(flow): flow for flow in flows}  # whose numbers last as long as they are kept here
        changed: Iterator[Flow] = (now[one] for one in now.keys() - self._before.keys())
        if self.ends.count > 2 * len(now) + _SPARE:  # most of it is of flows that the meter has dropped
            self.ends, changed = HeldEnds(self._net_ns), iter(flows)
        for flow in changed:
            self.ends.add((flow.cookie, flow.key, flow.first_at_ns), use_of_flow(flow))
        self._before = now


_SPARE = 16_384
