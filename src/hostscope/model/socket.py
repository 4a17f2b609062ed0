"""Sockets and who holds them."""

from msgspec import Struct

from hostscope.model.container import Container
from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.process import Account

SOCKET_SCHEMA = "hostscope.socket/1"


class Endpoint(Struct, frozen=True, gc=False):
    """One end of a connection."""

    address: str
    """As text; ``0.0.0.0`` and ``::`` for any. UNIX: a path, ``@name`` when abstract, empty when unnamed."""
    port: int | None = None
    """None where the protocol has no ports."""

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


class TcpState(Struct, frozen=True, gc=False):
    """What the kernel measures of one TCP connection. Source: tcp_info, struct tcp_sock."""

    rtt_ns: int | None
    """Smoothed round-trip time."""
    rtt_variation_ns: int | None
    retransmits: int
    """Segments sent again since the connection began."""
    sent_bytes: int
    """Payload sent, retransmissions included (Linux 4.19)."""
    acked_bytes: int
    received_bytes: int
    congestion_window: int | None = None
    mss_bytes: int | None = None


class Socket(Struct, frozen=True, gc=False):
    """One socket of the host. `None` without an entry in `gaps` means: does not apply."""

    family: str
    """``inet inet6 unix packet``."""
    kind: str
    """``stream dgram raw seqpacket``."""
    protocol: str | None
    """``tcp udp udplite icmp icmp6 sctp mptcp``, a number as text, or None."""
    state: str | None
    """``established listen syn-sent …`` for TCP; ``unconnected connected`` for datagrams; UNIX alike."""
    local: Endpoint | None
    remote: Endpoint | None
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
    """``listening``; ``inbound`` when a listener of this host has its local port, else ``outbound``."""
    backlog: int | None = None
    """Connections waiting to be accepted; listeners only."""
    backlog_limit: int | None = None
    receive_queue_bytes: int | None = None
    send_queue_bytes: int | None = None
    age_ns: int | None = None
    """Since the socket was made."""
    tcp: TcpState | None = None
    peer_inode: int | None = None
    """UNIX: the socket at the other end."""
    container: Container | None = None
    domain: str | None = None
    """Name of the remote end, when it was learnt from traffic."""
    gaps: tuple[Gap, ...] = ()


class SocketRequest(Struct, frozen=True):
    """Which sockets to collect."""

    families: frozenset[str] = frozenset({"inet", "inet6"})
    """Of ``inet inet6 unix packet``."""
    listening: bool = True
    """Include listeners and unconnected sockets."""
    tcp_details: bool = True
    """Fill `Socket.tcp`."""
    all_namespaces: bool = True
    method: str | None = None
