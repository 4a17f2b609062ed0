"""The kernel's lists of sockets (sysctl net.inet.{tcp,udp,raw}.pcblist_n), parsed. Pure and bounded.

Source: bsd/netinet/in_pcb.h, in_pcblist.c, bsd/sys/socketvar.h, bsd/netinet/tcp_var.h in xnu (private headers). A list
is a head, records and a tail like the head. Each record says its length and kind, and the next one begins at the next
multiple of eight bytes: their sizes differ between releases (struct xsocket_n has 76 bytes, since xnu-8792 104), so
they are never assumed. A socket's records follow each other: the protocol's block, the socket, its two buffers,
statistics, and for TCP the connection's.
"""

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

XSO_SOCKET, XSO_RCVBUF, XSO_SNDBUF, XSO_STATS, XSO_INPCB, XSO_TCPCB = 0x001, 0x002, 0x004, 0x008, 0x010, 0x020
MOST_SOCKETS = 1_000_000
_GENERATION_BYTES = 24
_RECORD = struct.Struct("<II")
_VFLAG_AT, _REMOTE_AT, _LOCAL_AT = 44, 48, 64
_INPCB_BYTES = 80
_STATE_AT = 36
INP_IPV4, INP_IPV6 = 0x1, 0x2
_BACKLOG_AT = 44
_UID_AT, _LAST_PID_AT, _EFFECTIVE_PID_AT = 64, 68, 72


class Pcb(NamedTuple):
    """One socket of the kernel's list."""

    family: str
    local: str
    local_port: int
    remote: str
    remote_port: int
    generation: int
    """Counts up with each socket of the protocol: tells two of the same ends apart."""
    state: int | None = None
    """TCPS_*; None for what is not TCP."""
    address: int = 0
    """Of the kernel's structure, as the kernel hides it; 0 when it does not tell."""
    uid: int | None = None
    last_pid: int | None = None
    """Who used it last; not always who holds it."""
    effective_pid: int | None = None
    """For whom a system daemon does, where it does it for another."""
    receive_queue: int | None = None
    send_queue: int | None = None
    backlog: int | None = None
    """Connections that wait to be accepted; of listeners."""
    backlog_limit: int | None = None


def parse_pcbs(raw: bytes) -> tuple[Pcb, ...]:
    """The sockets of one list, in its order.

    Raises:
        ValueError: it does not begin as such a list does.
    """
    if len(raw) < _GENERATION_BYTES:
        raise ValueError("a list of sockets without a head")
    (head,) = struct.unpack_from("<I", raw)
    if not 16 <= head <= 64:
        raise ValueError(f"a list of sockets with a head of {head} bytes")
    return tuple(_grouped(raw, _rounded(head)))


def _grouped(raw: bytes, at: int) -> Iterator[Pcb]:
    """A block of a protocol begins a socket, and what follows up to the next one belongs to it."""
    current: Pcb | None = None
    count = 0
    for kind, record in _records(raw, at):
        if kind == XSO_INPCB:
            if current:
                yield current
            current, count = _pcb(record), count + 1
            if count > MOST_SOCKETS:
                return
        elif current:
            current = _with(current, kind, record)
    if current:
        yield current


def _records(raw: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Records up to the tail, whose length is a head's: it has no kind, but a count in its place."""
    while at + _RECORD.size <= len(raw):
        size, kind = _RECORD.unpack_from(raw, at)
        if size <= _GENERATION_BYTES or at + size > len(raw):
            return
        yield kind, raw[at : at + size]
        at += _rounded(size)


def _rounded(size: int) -> int:
    return (size + 7) & ~7


def _pcb(record: bytes) -> Pcb | None:
    if len(record) < _INPCB_BYTES:
        return None
    remote_port, local_port = struct.unpack_from(">HH", record, 16)
    (generation,) = struct.unpack_from("<Q", record, 28)
    six = bool(record[_VFLAG_AT] & INP_IPV6)
    remote, local = (address(record[start : start + 16], six) for start in (_REMOTE_AT, _LOCAL_AT))
    return Pcb("inet6" if six else "inet", local, local_port, remote, remote_port, generation)


def _with(pcb: Pcb, kind: int, record: bytes) -> Pcb:
    if kind == XSO_SOCKET and len(record) >= _EFFECTIVE_PID_AT + 4:
        (so,) = struct.unpack_from("<Q", record, 8)
        uid, last, effective = struct.unpack_from("<Iii", record, _UID_AT)
        waiting, _, limit = struct.unpack_from("<hhh", record, _BACKLOG_AT)
        pcb = pcb._replace(backlog=waiting, backlog_limit=limit)
        return pcb._replace(address=so, uid=uid, last_pid=last, effective_pid=effective)
    if kind == XSO_TCPCB and len(record) >= _STATE_AT + 4:
        return pcb._replace(state=struct.unpack_from("<i", record, _STATE_AT)[0])
    if kind in (XSO_RCVBUF, XSO_SNDBUF) and len(record) >= 12:
        (held,) = struct.unpack_from("<I", record, 8)
        return pcb._replace(receive_queue=held) if kind == XSO_RCVBUF else pcb._replace(send_queue=held)
    return pcb


def address(packed: bytes, six: bool) -> str:
    """An address of a socket: 16 bytes, of which IPv4 uses the last four.

    The kernel keeps a link-local address's interface in its second word, which is taken out.
    """
    if not six:
        return str(IPv4Address(packed[12:16]))
    if packed[:2] in (b"\xfe\x80", b"\xff\x02"):
        packed = packed[:2] + b"\0\0" + packed[4:]
    return str(IPv6Address(packed))
