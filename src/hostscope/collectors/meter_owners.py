"""Whose socket sent a packet, by what counts traffic: it also knows sockets and processes that have ended."""

from collections import defaultdict
from time import monotonic_ns, time_ns

from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Endpoint, SocketOwner
from hostscope.model.traffic import Flow
from hostscope.platforms.base import Meter
from hostscope.wire.stubs import is_loopback

SHARE = 5
"""Reading the counters takes at most the fifth part of the time."""
SLACK_NS = 1_000_000_000
"""A call is counted when it begins or ends, a packet when it passes: so far their times may be apart."""
_ANYWHERE = frozenset({"0.0.0.0", "::"})


class MeterOwners:
    """Answers for packets from before it last read the counters; reads them when asked about later ones."""

    def __init__(self, meter: Meter, net_ns: int | None = None) -> None:
        """`net_ns` is where the packets pass; a loopback address is another one in each namespace."""
        self._meter = meter
        self._net_ns = net_ns
        self._flows: dict[tuple[str, int], list[Flow]] = {}
        self._read_at_ns = 0
        self._next_ns = 0

    def owner_of(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> SocketOwner | Gap | None:
        """The process that used the socket at that moment; None when no counted one did."""
        if at_ns >= self._read_at_ns:
            self._read()
        flows = self._flows.get((protocol, local.port or 0), ())
        found = [flow for flow in flows if _fits(flow, local, remote) and self._is_here(flow, local)]
        exact = [flow for flow in found if flow.remote is not None and flow.remote.port] or found
        nearest = min((_distance(flow, at_ns) for flow in exact), default=SLACK_NS)
        if nearest >= SLACK_NS:
            return None
        owners = {flow.key: flow for flow in exact if _distance(flow, at_ns) == nearest}
        if len(owners) > 1:
            return Gap("key", Reason.UNAVAILABLE, f"{len(owners)} processes used this port at that time")
        ((key, flow),) = owners.items()
        return SocketOwner(key, flow.name or "?") if key else Gap("key", Reason.GONE, flow.unknown)

    def _is_here(self, flow: Flow, local: Endpoint) -> bool:
        return not is_loopback(local.address) or None in (self._net_ns, flow.net_ns) or flow.net_ns == self._net_ns

    def _read(self) -> None:
        began_ns = monotonic_ns()
        if began_ns < self._next_ns:
            return
        read_at_ns, flows = time_ns(), defaultdict(list)
        for flow in self._meter.read().flows:
            flows[flow.protocol, flow.local.port or 0].append(flow)
        self._flows, self._read_at_ns = flows, read_at_ns
        self._next_ns = monotonic_ns() + (SHARE - 1) * (monotonic_ns() - began_ns)


def _fits(flow: Flow, local: Endpoint, remote: Endpoint) -> bool:
    if _plain(flow.local.address) not in (local.address, *_ANYWHERE):
        return False
    peer = flow.remote
    return peer is None or not peer.port or (_plain(peer.address), peer.port) == (remote.address, remote.port)


def _plain(address: str) -> str:
    return address.partition("%")[0].removeprefix("::ffff:")


def _distance(flow: Flow, at_ns: int) -> int:
    """How far a moment lies outside the time in which a flow was seen."""
    first_ns, last_ns = flow.first_at_ns or at_ns, flow.last_at_ns or at_ns
    return max(0, first_ns - at_ns, at_ns - last_ns)
