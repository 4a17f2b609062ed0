"""Traffic: who sent how much to whom."""

from msgspec import Struct

from hostscope.model.container import Container
from hostscope.model.key import ProcessKey
from hostscope.model.process import Account
from hostscope.model.socket import Endpoint

FLOW_SCHEMA = "hostscope.flow/1"
PROCESS_TRAFFIC_SCHEMA = "hostscope.process_traffic/1"
LEDGER_SCHEMA = "hostscope.ledger/1"


class Counts(Struct, frozen=True, gc=False):
    """Bytes and packets in both directions, as seen by the local end."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_packets: int = 0
    """Of payload: calls."""
    received_packets: int = 0

    @property
    def total_bytes(self) -> int:
        """Both directions."""
        return self.sent_bytes + self.received_bytes

    @property
    def total_packets(self) -> int:
        """Both directions."""
        return self.sent_packets + self.received_packets

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.sent_bytes + other.sent_bytes,
            self.received_bytes + other.received_bytes,
            self.sent_packets + other.sent_packets,
            self.received_packets + other.received_packets,
        )

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.sent_bytes - other.sent_bytes,
            self.received_bytes - other.received_bytes,
            self.sent_packets - other.sent_packets,
            self.received_packets - other.received_packets,
        )


class Flow(Struct, frozen=True, gc=False):
    """One connection of one process, or one pair of endpoints, since the meter was opened."""

    protocol: str
    """``tcp udp quic icmp icmp6 …``; a number as text for others, ``arp`` and the like for what is not IP."""
    local: Endpoint
    remote: Endpoint | None
    """None for an unconnected socket that the method cannot split by peer."""
    key: ProcessKey | None
    """Whose it is; None with `unknown` saying why, or of a file, which names processes without their keys."""
    name: str | None
    """Of the process when it first used the socket; of a file, with its pid: ``curl[1234]``."""
    unknown: str | None = None
    """``gone other-namespace forwarded bridged kernel lost not-asked``, of a file also ``unrecorded``."""
    user: Account | None = None
    """Who made the socket."""
    direction: str | None = None
    """``inbound outbound``, when it is known who began."""
    net_ns: int | None = None
    """Inode of the network namespace."""
    interface: str | None = None
    cookie: int | None = None
    """The kernel's number for the socket, never reused."""
    payload: Counts | None = None
    """What processes handed over and received, without headers. Never added to `wire`."""
    wire: Counts | None = None
    """What interfaces carried, in the interface's unit (Linux: link header included)."""
    first_at_ns: int | None = None
    last_at_ns: int | None = None
    closed: bool | None = None
    """``polling``, and for TCP ``capture`` and files tell; None with other methods."""
    domain: str | None = None
    domain_source: str | None = None
    """``dns tls quic http reverse``, or ``file``: a capture file's name blocks."""
    container: Container | None = None


class LedgerLine(Struct, frozen=True, gc=False):
    """One part of what the interfaces carried."""

    reason: str
    """``attributed``, or why there is no process: ``gone other-namespace forwarded bridged kernel lost not-asked``.

    With ``capture`` also ``merged``: headers, estimated, of packets that offload had made one before we saw them."""
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
    """`interface_bytes` minus all lines; negative when the lines have more than the interfaces counted."""
    remainder_packets: int
    estimated: bool
    """The method counts payload: the remainder is headers, acknowledgements and retransmissions."""


class Reading(Struct, frozen=True):
    """What a meter has counted since it was opened."""

    at_ns: int
    elapsed_ns: int
    flows: tuple[Flow, ...]
    ledger: Ledger | None
    lost: Counts = Counts()
    """Of flows that found no room."""
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
    addresses: tuple[str, ...] = ()
    """Remote ones, of its busiest connections."""
    ended: bool | None = None
    """Whether the process has ended; None when nobody looked."""
    recent: tuple[float, ...] = ()
    """Bytes a second, both directions, in the last intervals, oldest first; of a live table."""


class TrafficRequest(Struct, frozen=True):
    """What to measure."""

    method: str | None = None
    """``accounting`` (payload) and ``wire`` (packets), both counted in the kernel; on Windows ``etw`` (payload, by the
    kernel's events); ``capture`` and ``polling``."""
    interfaces: tuple[str, ...] = ()
    """All when empty. Of the ledger, and of flows where packets are counted: those methods come first then."""
    max_flows: int = 131_072
    names: bool | None = None
    """Learn names of remote ends: from all packets that the method sees, and where it sees none from DNS answers, which
    costs those who talk by UDP. None: only where it costs nothing."""
    connections: bool = False
    """With ``accounting``: also a flow without payload for each TCP connection that was opened or closed, to know who
    was behind those over which nothing was sent."""
