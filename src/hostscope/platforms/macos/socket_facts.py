"""One socket as the kernel tells it, whichever way it was asked; and the kernel's numbers by name. Pure.

Source: sys/socket.h, netinet/in.h, netinet/tcp_fsm.h, sys/proc_info.h.
"""

from collections.abc import Iterable
from typing import NamedTuple

from hostscope.model.key import ProcessKey
from hostscope.model.process import Account
from hostscope.model.socket import Endpoint, TcpState
from hostscope.platforms.macos.parse_fdinfo import IN, TCP, UN, SocketInfo
from hostscope.platforms.macos.parse_pcblist import Pcb

KINDS = {1: "stream", 2: "dgram", 3: "raw", 4: "rdm", 5: "seqpacket"}
"""SOCK_*."""
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}
"""IPPROTO_*; others are told as numbers."""
NUMBERS = {name: number for number, name in PROTOCOLS.items()}
FAMILIES = {1: "unix", 2: "inet", 17: "route", 27: "ndrv", 29: "key", 30: "inet6", 32: "system", 40: "vsock"}
"""AF_*."""
STATES = {
    0: "closed", 1: "listen", 2: "syn-sent", 3: "syn-received", 4: "established", 5: "close-wait", 6: "fin-wait-1",
    7: "closing", 8: "last-ack", 9: "fin-wait-2", 10: "time-wait",
}  # fmt: skip
"""TCPS_*."""
SO_ACCEPTCONN, SOI_S_ISCONNECTED, SOI_S_ISCONNECTING = 0x2, 0x2, 0x4
WITH_PORTS = frozenset({"tcp", "udp", "sctp"})
ANY = frozenset({"0.0.0.0", "::"})
LISTENING, INBOUND, OUTBOUND = "listening", "inbound", "outbound"
Ends = tuple[str, str, int]
"""Protocol, local address and port."""


class Facts(NamedTuple):
    """One socket."""

    family: str
    kind: str | None
    protocol: str | None
    state: str | None
    local: Endpoint | None
    remote: Endpoint | None
    number: int
    """The kernel's address of it, as the kernel hides it; 0 when it does not tell."""
    cookie: int | None = None
    peer: int | None = None
    user: Account | None = None
    backlog: int | None = None
    backlog_limit: int | None = None
    receive_queue: int | None = None
    send_queue: int | None = None
    tcp: TcpState | None = None
    last_pid: int | None = None

    @property
    def listens(self) -> bool:
        """Whether peers come to it."""
        return self.state == "listen" or (self.state == "unconnected" and self.protocol == "udp" and _bound(self))

    def awaiting(self, waiting: int | None, limit: int | None) -> "Facts":
        """With the connections that wait, where it is a listener."""
        return self._replace(backlog=waiting, backlog_limit=limit) if self.state == "listen" else self


class Holder(NamedTuple):
    """Who has a socket open."""

    key: ProcessKey
    name: str
    fd: int


def _bound(facts: Facts) -> bool:
    return bool(facts.local and facts.local.port)


def cookie_of(protocol: str, generation: int) -> int | None:
    """The kernel counts the sockets of each protocol, and gives no number twice in one boot."""
    return generation << 8 | NUMBERS.get(protocol, 0) if generation else None


def of_descriptor(found: SocketInfo) -> Facts:
    """A socket as a process has it."""
    kind = KINDS.get(found.type, str(found.type))
    if found.kind in (IN, TCP):
        return _inet(found, kind)
    family = FAMILIES.get(found.family, str(found.family))
    if found.kind != UN:
        return Facts(family, kind, None, None, None, None, found.address)
    local, remote = (Endpoint(name) if name else None for name in (found.local, found.remote))
    return Facts(
        family, kind, None, _unix_state(found), local, remote, found.address,
        peer=found.peer or None, receive_queue=found.receive_queue, send_queue=found.send_queue,
    ).awaiting(found.backlog, found.backlog_limit)  # fmt: skip


def _inet(found: SocketInfo, kind: str) -> Facts:
    protocol = PROTOCOLS.get(found.protocol, str(found.protocol))
    state = _state(protocol, found.state, found.remote_port, found.remote)
    local, remote = _ends(protocol, found.local, found.local_port, found.remote, found.remote_port)
    return Facts(
        "inet6" if found.six else "inet", kind, protocol, state, local, remote, found.address,
        cookie=cookie_of(protocol, found.generation), receive_queue=found.receive_queue, send_queue=found.send_queue,
        tcp=_tcp(found.mss) if found.kind == TCP and state != "listen" else None,
    ).awaiting(found.backlog, found.backlog_limit)  # fmt: skip


def of_list(found: Pcb, protocol: str, kind: str, user: Account | None) -> Facts:
    """A socket of the kernel's list."""
    state = _state(protocol, found.state, found.remote_port, found.remote)
    local, remote = _ends(protocol, found.local, found.local_port, found.remote, found.remote_port)
    return Facts(
        found.family, kind, protocol, state, local, remote, found.address,
        cookie=cookie_of(protocol, found.generation), user=user, receive_queue=found.receive_queue,
        send_queue=found.send_queue, last_pid=found.last_pid,
    ).awaiting(found.backlog, found.backlog_limit)  # fmt: skip


def _tcp(mss: int | None) -> TcpState:
    """The kernel tells a process tool the segment size only."""
    return TcpState(None, None, None, None, None, None, None, mss)


def _state(protocol: str, state: int | None, remote_port: int, remote: str) -> str:
    if protocol == "tcp" and state is not None:
        return STATES.get(state, f"state {state}")
    return "connected" if remote_port or remote not in ANY else "unconnected"


def _ends(protocol: str, local: str, port: int, remote: str, remote_port: int) -> tuple[Endpoint, Endpoint | None]:
    ports = protocol in WITH_PORTS
    there = None
    if remote_port or remote not in ANY:
        there = Endpoint(remote, remote_port if ports else None)
    return Endpoint(local, port if ports else None), there


def _unix_state(found: SocketInfo) -> str:
    if found.options & SO_ACCEPTCONN:
        return "listen"
    if found.status & SOI_S_ISCONNECTED:
        return "connected"
    return "connecting" if found.status & SOI_S_ISCONNECTING else "unconnected"


def listeners_of(rows: Iterable[Facts]) -> frozenset[Ends]:
    """Where connections come to."""
    return frozenset(
        (row.protocol or "", row.local.address, row.local.port or 0)
        for row in rows
        if row.local and row.protocol and row.state == "listen"
    )


def direction_of(facts: Facts, listeners: frozenset[Ends]) -> str | None:
    """A heuristic, as on Linux: inbound when somebody listens on its local port and address now."""
    if facts.family == "unix":
        if facts.state == "listen":
            return LISTENING
        return (INBOUND if facts.local else OUTBOUND if facts.remote else None) if facts.kind != "dgram" else None
    if facts.listens:
        return LISTENING
    if facts.protocol != "tcp" or facts.remote is None or facts.local is None:
        return None
    port = facts.local.port or 0
    at = (facts.local.address, "0.0.0.0", "::")
    return INBOUND if any((facts.protocol, address, port) in listeners for address in at) else OUTBOUND
