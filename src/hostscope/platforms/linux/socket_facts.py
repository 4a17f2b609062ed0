"""One socket as the kernel tells it, whichever way it was asked; and the kernel's numbers by name."""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from hostscope.model.socket import TcpState

UNIX, INET, INET6, NETLINK, PACKET = 1, 2, 10, 16, 17
FAMILIES = {UNIX: "unix", INET: "inet", INET6: "inet6", NETLINK: "netlink", PACKET: "packet"}
"""AF_* numbers that records name."""
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
KINDS = {STREAM: "stream", DGRAM: "dgram", RAW: "raw", SEQPACKET: "seqpacket", 10: "packet"}
"""SOCK_* numbers; 10 is the old packet interface of Linux 2.0."""
ICMP, TCP, UDP, DCCP, ICMP6, SCTP, UDP_LITE, RAW_IP, MPTCP = 1, 6, 17, 33, 58, 132, 136, 255, 262
PROTOCOLS = {
    ICMP: "icmp", TCP: "tcp", UDP: "udp", DCCP: "dccp", ICMP6: "icmp6", SCTP: "sctp", UDP_LITE: "udplite",
    RAW_IP: "raw", MPTCP: "mptcp",
}  # fmt: skip
"""IPPROTO_* numbers; others are told as numbers."""
WITH_PORTS = frozenset({TCP, UDP, DCCP, SCTP, UDP_LITE, MPTCP})
STREAMS = frozenset({TCP, MPTCP, SCTP, DCCP})
"""Protocols with connections, whose states are TCP's."""
ETHERTYPE_ALL = 3

ESTABLISHED, SYN_SENT, SYN_RECEIVED, TIME_WAIT, CLOSED, CLOSE_WAIT, LISTEN, REQUEST = 1, 2, 3, 6, 7, 8, 10, 12
TCP_STATES = {
    ESTABLISHED: "established", SYN_SENT: "syn-sent", SYN_RECEIVED: "syn-received", 4: "fin-wait-1", 5: "fin-wait-2",
    TIME_WAIT: "time-wait", CLOSED: "closed", CLOSE_WAIT: "close-wait", 9: "last-ack", LISTEN: "listen", 11: "closing",
    REQUEST: "syn-received",
}  # fmt: skip
"""Source: include/net/tcp_states.h; 12 is a request that has no socket of its own yet (4.1)."""
DATAGRAM_STATES = {ESTABLISHED: "connected", CLOSED: "unconnected"}
"""UDP and raw sockets borrow TCP's numbers."""
CONNECTING, DISCONNECTING = 2, 4
UNIX_STATES = {
    ESTABLISHED: "connected", CONNECTING: "connecting", DISCONNECTING: "disconnecting", CLOSED: "unconnected",
    LISTEN: "listen",
}  # fmt: skip
"""`connecting` waits to be accepted; `disconnecting` has lost its descriptor."""


class Facts(NamedTuple):
    """One socket. None is what this way of asking does not tell, or what does not apply."""

    family: int
    kind: int | None
    protocol: int
    """IPPROTO_*; for packet sockets the EtherType, for netlink the family's number."""
    state: int
    inode: int
    """0 when it has none: nobody accepted it yet, or everybody closed it."""
    local: bytes = b""
    """Packed address; UNIX: the name, which begins with NUL when it is abstract."""
    local_port: int = 0
    """For raw sockets their protocol's number, for ping sockets their identifier."""
    remote: bytes = b""
    remote_port: int = 0
    net_ns: int | None = None
    cookie: int | None = None
    uid: int | None = None
    interface: int | None = 0
    """Index; 0 when it is bound to none."""
    receive_queue: int | None = None
    send_queue: int | None = None
    backlog: int | None = None
    backlog_limit: int | None = None
    tcp: TcpState | None = None
    peer: int | None = None
    """Inode of the other end; UNIX only."""

    @property
    def listens(self) -> bool:
        """Whether peers come to it: listeners, and datagram sockets with a port that take from anyone."""
        if self.family == UNIX or self.protocol in STREAMS:
            return self.state == LISTEN
        return self.kind == DGRAM and self.state == CLOSED and self.local_port != 0

    @property
    def has_port(self) -> bool:
        """Whether `local_port` is one."""
        return self.family in (INET, INET6) and self.protocol in WITH_PORTS and self.kind != RAW


def distinct(found: Iterable[Facts]) -> list[Facts]:
    """Each socket once, as it was seen last.

    The kernel copies a table piece by piece and remembers how far it came in a list by counting: what is put in front
    meanwhile moves others into the next piece, where they come again. Source: established_get_idx() in
    net/ipv4/tcp_ipv4.c, inet_diag_dump_icsk().
    """
    return list({identity(facts): facts for facts in found}.values())


def identity(facts: Facts) -> Hashable:
    """What tells sockets apart: inode and ends, for several of MPTCP share one, and closed connections have none."""
    if not facts.inode and not (facts.protocol in STREAMS and facts.remote_port):
        return id(facts)
    ends = facts.local, facts.local_port, facts.remote, facts.remote_port
    return facts.family, facts.protocol, facts.inode, ends, facts.net_ns
