"""Traffic: who sent how much to whom."""

from msgspec import Struct

from hostscope.model.container import Container
from hostscope.model.key import ProcessKey
from hostscope.model.socket import Endpoint

FLOW_SCHEMA = "hostscope.flow/1"
PROCESS_TRAFFIC_SCHEMA = "hostscope.process_traffic/1"
LEDGER_SCHEMA = "hostscope.ledger/1"


class Counts(Struct, frozen=True, gc=False):
    """Bytes and packets in both directions, as seen by the local end."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_packets: int = 0
    received_packets: int = 0

    @property
    def total_bytes(self) -> int:
        """Both directions."""
        return self.sent_bytes + self.received_bytes


class Flow(Struct, frozen=True, gc=False):
    """One connection, or one pair of endpoints, since the meter was opened."""

    protocol: str
    """``tcp udp quic icmp icmp6 …``."""
    local: Endpoint
    remote: Endpoint | None
    """None for an unconnected socket that the method cannot split by peer."""
    key: ProcessKey | None
    """Whose it is; None with `unknown` saying why."""
    name: str | None
    unknown: str | None = None
    """``gone other-namespace forwarded kernel lost not-asked``."""
    direction: str | None = None
    """``inbound outbound``, when it is known who began."""
    net_ns: int | None = None
    interface: str | None = None
    payload: Counts | None = None
    """What processes handed over and received, without headers; packets are calls. Never added to `wire`."""
    wire: Counts | None = None
    """What interfaces carried, in the interface's unit (Linux: link header included)."""
    first_at_ns: int | None = None
    last_at_ns: int | None = None
    closed: bool = False
    domain: str | None = None
    domain_source: str | None = None
    """``dns tls quic http reverse``."""
    container: Container | None = None


class LedgerLine(Struct, frozen=True, gc=False):
    """One part of what an interface carried."""

    reason: str
    """``attributed``, or why there is no process: ``gone other-namespace forwarded kernel lost``."""
    bytes: int
    packets: int


class Ledger(Struct, frozen=True, gc=False):
    """Whether the parts add up to what the interfaces counted."""

    interfaces: tuple[str, ...]
    interface_bytes: int
    """Difference of the interfaces' own counters since the meter was opened, both directions."""
    interface_packets: int
    lines: tuple[LedgerLine, ...]
    remainder_bytes: int
    """`interface_bytes` minus all lines; negative when more was attributed than counted."""
    remainder_packets: int
    estimated: bool
    """The method counts payload: the remainder is headers, acknowledgements and retransmissions."""


class Reading(Struct, frozen=True):
    """What a meter has counted since it was opened."""

    at_ns: int
    elapsed_ns: int
    flows: tuple[Flow, ...]
    ledger: Ledger | None
    lost: int = 0
    """Updates that found no room."""
    evicted: Counts = Counts()
    """Of flows that were dropped from the bounded table."""


class ProcessTraffic(Struct, frozen=True, gc=False):
    """All flows of one process, or of one reason why there is none."""

    key: ProcessKey | None
    name: str
    connections: int
    payload: Counts | None
    wire: Counts | None
    sent_rate: float
    """Bytes a second over the window, of the quantity that the method measures."""
    received_rate: float
    unknown: str | None = None
    user: str | None = None
    container: Container | None = None
    domains: tuple[str, ...] = ()
    """Of its busiest connections."""
    flows: tuple[Flow, ...] = ()
    ended: bool = False


class TrafficRequest(Struct, frozen=True):
    """What to measure."""

    method: str | None = None
    """Linux: ``accounting`` (payload, eBPF), ``wire`` (cgroup_skb), ``capture`` (AF_PACKET), ``polling`` (tcp_info)."""
    interfaces: tuple[str, ...] = ()
    """Of the ledger and of capture; all when empty."""
    max_flows: int = 131_072
