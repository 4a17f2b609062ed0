"""Sockets and who holds them."""

from msgspec import Struct

from hostscope.model.container import Container
from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.process import Account

SOCKET_SCHEMA = "hostscope.socket/1"
INET = frozenset({"inet", "inet6"})
FAMILIES = INET | {"unix", "packet"}
WAITING_STATES = frozenset({"listen", "unconnected"})
"""Of sockets that wait for their peers."""
CONNECTED_STATES = frozenset({"established", "connected"})


class Endpoint(Struct, frozen=True, gc=False):
    """One end of a connection."""

    address: str
    """As text; ``0.0.0.0`` and ``::`` for any. UNIX: a path, ``@name`` when abstract, empty when unnamed."""
    port: int | None = None
    """None where the protocol has no ports, or where a closed socket has lost its own and nobody saw it before."""

    def __str__(self) -> str:
        if self.port is None:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class SocketOwner(Struct, frozen=True, gc=False):
    """A process that holds a socket open."""

    key: ProcessKey
    name: str
    fd: int | None = None
    """The lowest of its descriptors for it."""
    service: str | None = None
    """The service inside the process that it is of (Windows: of service hosts); None where the process is all."""


class TcpState(Struct, frozen=True, gc=False):
    """What the kernel measures of one TCP connection. Source: tcp_info, struct tcp_sock."""

    rtt_ns: int | None
    """Smoothed round-trip time."""
    rtt_variation_ns: int | None
    retransmits: int | None
    """Segments sent again since the connection began; None where they are not counted."""
    sent_bytes: int | None
    """Payload sent, retransmissions included; None before Linux 4.19."""
    acked_bytes: int | None
    """Payload that the other end acknowledged."""
    received_bytes: int | None
    congestion_window: int | None = None
    mss_bytes: int | None = None


class Socket(Struct, frozen=True, gc=False):
    """One socket of the host. `None` without an entry in `gaps` means: does not apply."""

    family: str
    """``inet inet6 unix packet``; in what a process holds also ``netlink``, ``vsock`` and whatever else there is."""
    kind: str | None
    """``stream dgram raw seqpacket``."""
    protocol: str | None
    """``tcp udp udplite icmp icmp6 sctp mptcp``, a number as text, or None. Packet sockets: the EtherType they take,
    such as ``0x88cc``, or ``all``."""
    state: str | None
    """``established listen syn-sent …`` for TCP; ``unconnected connected`` for datagrams; UNIX alike."""
    local: Endpoint | None
    """None for a socket without an address of its own: packet sockets, unnamed UNIX sockets."""
    remote: Endpoint | None
    """None when it is not connected; UNIX: the name of the other end, if that has one."""
    inode: int | None
    """None for a connection that has no socket any more (time-wait) or not yet (syn-recv)."""
    net_ns: int | None
    """Inode of the network namespace."""
    cookie: int | None = None
    """The kernel's number for the socket, never reused; None until somebody asked for one."""
    owners: tuple[SocketOwner, ...] | None = None
    """All holders; empty when no process has it open (the kernel's own, or closing)."""
    user: Account | None = None
    """Who made it."""
    interface: str | None = None
    """The device it is bound to."""
    direction: str | None = None
    """``listening`` (UDP: takes datagrams from anyone), ``inbound``, ``outbound``; None where neither end began.

    A heuristic: a connection is inbound when a socket of its network namespace listens on its local port and address
    now. Linux' method ``iterator`` asks the kernel instead, which remembers what was accepted after the listener is
    gone (unless its backlog limit was 0)."""
    backlog: int | None = None
    """Connections waiting to be accepted; listeners only."""
    backlog_limit: int | None = None
    receive_queue_bytes: int | None = None
    send_queue_bytes: int | None = None
    age_ns: int | None = None
    """Since the socket was made. Linux keeps no such time (the inodes of sockets have none): a gap when asked for."""
    tcp: TcpState | None = None
    peer_inode: int | None = None
    """UNIX: the socket at the other end."""
    container: Container | None = None
    """Of its owners; of a socket without one, the only container in its network namespace."""
    domain: str | None = None
    """Name of the remote end, when it was asked for: sockets do not tell it. See also `Flow.domain`."""
    gaps: tuple[Gap, ...] = ()


class SocketRequest(Struct, frozen=True):
    """Which sockets to collect."""

    families: frozenset[str] = INET
    """Of ``inet inet6 unix packet``."""
    states: frozenset[str] | None = None
    """Only sockets in these states; None for all."""
    tcp_details: bool = True
    """Fill `Socket.tcp`."""
    age: bool = False
    """Fill `Socket.age_ns` where the system can."""
    all_namespaces: bool = True
    """Look into every network namespace of the host, not only ours."""
    method: str | None = None
    """Name of a collection method; None chooses."""
