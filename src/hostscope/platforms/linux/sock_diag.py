"""sock_diag(7): the kernel's own tables of sockets over netlink, one network namespace at a time.

The parsers are pure and bounded: a message that contradicts itself is a `ValueError`.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from hostscope.model.socket import TcpState
from hostscope.platforms.linux.socket_facts import (
    CLOSE_WAIT,
    CLOSED,
    CONNECTING,
    DGRAM,
    DISCONNECTING,
    ESTABLISHED,
    INET,
    INET6,
    LISTEN,
    MPTCP,
    PACKET,
    REQUEST,
    STREAM,
    SYN_RECEIVED,
    TCP,
    TIME_WAIT,
    UNIX,
    Facts,
)
from hostscope.platforms.tally import Tally

NETLINK_SOCK_DIAG = 4
BY_FAMILY, TCPDIAG_GETSOCK = 20, 18
"""The second is the older request: it asks for TCP of both families in one walk of the table."""
NOOP, ERROR, DONE = 1, 2, 3
REQUEST_DUMP, INTERRUPTED = 0x301, 0x10
RECEIVE_BYTES = 1 << 18
ANY_STATE = 0x1FFF
"""All of TCP's, up to requests; from Linux 6.8 there is one more, for bound sockets that neither listen nor connect."""
ONLY_ESTABLISHED = 1 << ESTABLISHED | 1 << CLOSE_WAIT
"""What the kernel counts as established (CurrEstab)."""
NOT_ESTABLISHED = ANY_STATE & ~ONLY_ESTABLISHED

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_REQUEST_INET = struct.Struct("=BBBBI48x")
_REQUEST_TCP = struct.Struct("=BBBB48xII")
_REQUEST_UNIX = struct.Struct("=BBHIIIII")
_REQUEST_PACKET = struct.Struct("=BBHIIII")
_INET = struct.Struct("=4BHH16s16sIQIIIII")
_UNIX = struct.Struct("=BBBBIQ")
_PACKET = struct.Struct("=BBHIQ")
_TWO, _ONE = struct.Struct("=II"), struct.Struct("=I")

WANT_TCP_INFO = 1 << 1
INET_TCP_INFO, INET_PROTOCOL_WANTED = 2, 3
UNIX_NAME, UNIX_PEER, UNIX_QUEUES, UNIX_UID = 0, 2, 4, 7
UNIX_SHOW = 1 | 4 | 0x10 | 0x40
"""Name, peer, queue lengths, uid (5.3)."""
PACKET_INFO, PACKET_UID, PACKET_MEMORY = 0, 5, 6
PACKET_SHOW = 1 | 0x10

_INFO = struct.Struct("=16xI48xII4xI16xI16xQQ")
"""Of struct tcp_info: snd_mss, rtt, rttvar (microseconds), snd_cwnd, total_retrans, bytes_acked, bytes_received."""
_SENT_AT, _SENT = 200, struct.Struct("=Q")
"""bytes_sent, from Linux 4.19."""
_NO_SUCH = frozenset({errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT})
"""What a kernel says that lacks the module for a family or protocol."""


class Message(NamedTuple):
    """Where one netlink message lies in what was received."""

    type: int
    flags: int
    start: int
    """Of its body."""
    end: int


# Parsing ------------------------------------------------------------------------------------------------------------


def messages(raw: bytes) -> Iterator[Message]:
    """The messages of one receive.

    Raises:
        ValueError: a length leaves the buffer, or is too short.
    """
    at, size = 0, len(raw)
    while at < size:
        if size - at < _HEADER.size:
            raise ValueError("a netlink header is cut short")
        length, kind, flags, _, _ = _HEADER.unpack_from(raw, at)
        if not _HEADER.size <= length <= size - at:
            raise ValueError(f"a netlink message of {length} bytes in {size - at}")
        yield Message(kind, flags, at + _HEADER.size, at + length)
        at += (length + 3) & ~3


def attributes(raw: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of each attribute.

    Raises:
        ValueError: a length leaves the message, or is too short.
    """
    while start < end:
        if end - start < _ATTRIBUTE.size:
            raise ValueError("a netlink attribute is cut short")
        length, kind = _ATTRIBUTE.unpack_from(raw, start)
        if not _ATTRIBUTE.size <= length <= end - start:
            raise ValueError(f"a netlink attribute of {length} bytes in {end - start}")
        yield kind & 0x3FFF, start + _ATTRIBUTE.size, start + length
        start += (length + 3) & ~3


def _need(start: int, end: int, size: int) -> None:
    if end - start < size:
        raise ValueError(f"a sock_diag message has {end - start} bytes, not {size}")


def parse_inet(raw: bytes, start: int, end: int, protocol: int, net_ns: int | None) -> Facts:
    """struct inet_diag_msg and what follows. Source: inet_diag.h.

    Raises:
        ValueError
    """
    _need(start, end, _INET.size)
    (
        family, state, _, _, port, remote_port, local, remote, interface, cookie, _, receive, send, uid, inode,
    ) = _INET.unpack_from(raw, start)  # fmt: skip
    if family not in (INET, INET6):
        raise ValueError(f"family {family} among internet sockets")
    width = 4 if family == INET else 16
    kind = STREAM if protocol in (TCP, MPTCP) else DGRAM
    here = (local[:width], socket.ntohs(port), remote[:width], socket.ntohs(remote_port), net_ns, cookie)
    if state == LISTEN and protocol == TCP:
        return Facts(family, kind, protocol, state, inode, *here, uid, interface, None, None, receive, send)
    if state in (TIME_WAIT, REQUEST) or (state == SYN_RECEIVED and not inode):  # not whole sockets
        return Facts(family, kind, protocol, state, inode, *here, None, interface)
    tcp = _find_tcp(raw, start + _INET.size, end) if protocol == TCP else None
    return Facts(family, kind, protocol, state, inode, *here, uid, interface, receive, send, None, None, tcp)


def _find_tcp(raw: bytes, start: int, end: int) -> TcpState | None:
    for kind, first, last in attributes(raw, start, end):
        if kind == INET_TCP_INFO:
            return parse_tcp_info(raw[first:last])
    return None


def parse_tcp_info(raw: bytes) -> TcpState | None:
    """struct tcp_info, as long as this kernel makes it; None when it is not even as long as that of Linux 4.2."""
    if len(raw) < _INFO.size:
        return None
    segment, rtt, variation, window, retransmits, acked, received = _INFO.unpack_from(raw)
    sent = _SENT.unpack_from(raw, _SENT_AT)[0] if len(raw) >= _SENT_AT + _SENT.size else None
    return tcp_state(rtt, variation, retransmits, sent, acked, received, window, segment)


def tcp_state(
    rtt_us: int, variation_us: int, retransmits: int, sent: int | None, acked: int, received: int, window: int,
    segment: int,
) -> TcpState:  # fmt: skip
    """The record; before the first measurement there is no round-trip time. The kernel counts the SYN as acknowledged
    by whoever sent it, but not as sent: the smaller number is payload."""
    rtt_ns, variation_ns = (rtt_us * 1000, variation_us * 1000) if rtt_us else (None, None)
    payload = acked if sent is None else min(acked, sent)
    return TcpState(rtt_ns, variation_ns, retransmits, sent, payload, received, window, segment)


def parse_unix(raw: bytes, start: int, end: int, net_ns: int | None) -> Facts:
    """struct unix_diag_msg and what follows. Source: unix_diag.h.

    Raises:
        ValueError
    """
    _need(start, end, _UNIX.size)
    family, kind, state, _, inode, cookie = _UNIX.unpack_from(raw, start)
    if family != UNIX:
        raise ValueError(f"family {family} among UNIX sockets")
    found = {number: (first, last) for number, first, last in attributes(raw, start + _UNIX.size, end)}
    name = raw[slice(*found[UNIX_NAME])] if UNIX_NAME in found else b""
    receive, send = _numbers(raw, found.get(UNIX_QUEUES), _TWO) or (None, None)
    listens = state == LISTEN
    if not inode:
        state = {ESTABLISHED: CONNECTING, CLOSED: DISCONNECTING}.get(state, state)
    return Facts(
        family=family,
        kind=kind,
        protocol=0,
        state=state,
        inode=inode,
        local=name if name.startswith(b"\0") else name.rstrip(b"\0"),
        net_ns=net_ns,
        cookie=cookie,
        uid=next(iter(_numbers(raw, found.get(UNIX_UID), _ONE) or ()), None),
        receive_queue=None if listens else receive,
        send_queue=None if listens else send,
        backlog=receive if listens else None,
        backlog_limit=send if listens else None,
        peer=next(iter(_numbers(raw, found.get(UNIX_PEER), _ONE) or ()), None),
    )


def parse_packet(raw: bytes, start: int, end: int, net_ns: int | None) -> Facts:
    """struct packet_diag_msg and what follows. Source: packet_diag.h.

    Raises:
        ValueError
    """
    _need(start, end, _PACKET.size)
    family, kind, ethertype, inode, cookie = _PACKET.unpack_from(raw, start)
    if family != PACKET:
        raise ValueError(f"family {family} among packet sockets")
    found = {number: (first, last) for number, first, last in attributes(raw, start + _PACKET.size, end)}
    index = _numbers(raw, found.get(PACKET_INFO), _ONE)
    memory = _numbers(raw, found.get(PACKET_MEMORY), struct.Struct("=III"))
    return Facts(
        family=family,
        kind=kind,
        protocol=ethertype,
        state=0,
        inode=inode,
        net_ns=net_ns,
        cookie=cookie,
        uid=next(iter(_numbers(raw, found.get(PACKET_UID), _ONE) or ()), None),
        interface=index[0] if index else None,
        receive_queue=memory[0] if memory else None,
        send_queue=memory[2] if memory else None,
    )


def _numbers(raw: bytes, place: tuple[int, int] | None, shape: struct.Struct) -> tuple[int, ...] | None:
    if place is None or place[1] - place[0] < shape.size:
        return None
    return shape.unpack_from(raw, place[0])


# Asking -------------------------------------------------------------------------------------------------------------


class Tables:
    """The socket tables of one network namespace, through a netlink socket that was made in it."""

    def __init__(self, net_ns: int | None, tally: Tally) -> None:
        """Call it in the namespace (`net_namespaces.inside`); use it anywhere.

        Raises:
            OSError: there is no sock_diag here.
        """
        self._net_ns = net_ns
        self._tally = tally
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)

    def close(self) -> None:
        """Ends it; a dump that was not read to its end ends too."""
        self._socket.close()

    def tcp(self, states: int = ANY_STATE, details: bool = True) -> Iterator[Facts]:
        """TCP of both families. Cost: one walk of the connection table, 2.5 ms with a table of half a million buckets,
        and 1 us a socket, 2 us with details."""
        wanted = WANT_TCP_INFO if details else 0
        request = _REQUEST_TCP.pack(0, 0, 0, wanted, states, 0)
        for raw, found in self._dump(TCPDIAG_GETSOCK, request, "tcp"):
            yield parse_inet(raw, found.start, found.end, TCP, self._net_ns)

    def inet(self, protocol: int, states: int = ANY_STATE) -> Iterator[Facts]:
        """UDP, UDP-Lite or MPTCP of both families; nothing where the kernel does not know the protocol."""
        attribute = _ATTRIBUTE.pack(8, INET_PROTOCOL_WANTED) + _ONE.pack(protocol) if protocol > 0xFF else b""
        number = TCP if attribute else protocol
        for family in (INET, INET6):
            request = _REQUEST_INET.pack(family, number, 0, 0, states) + attribute
            for raw, found in self._dump(BY_FAMILY, request, f"protocol {protocol}"):
                yield parse_inet(raw, found.start, found.end, protocol, self._net_ns)

    def unix(self) -> Iterator[Facts]:
        """UNIX sockets.

        Raises:
            OSError: the kernel was built without.
        """
        request = _REQUEST_UNIX.pack(UNIX, 0, 0, 0xFFFF_FFFF, 0, UNIX_SHOW, 0, 0)
        for raw, found in self._dump(BY_FAMILY, request, "unix", must=True):
            yield parse_unix(raw, found.start, found.end, self._net_ns)

    def packet(self) -> Iterator[Facts]:
        """Packet sockets.

        Raises:
            OSError: the kernel was built without.
        """
        request = _REQUEST_PACKET.pack(PACKET, 0, 0, 0, PACKET_SHOW, 0, 0)
        for raw, found in self._dump(BY_FAMILY, request, "packet", must=True):
            yield parse_packet(raw, found.start, found.end, self._net_ns)

    def _dump(self, kind: int, request: bytes, what: str, must: bool = False) -> Iterator[tuple[bytes, Message]]:
        self._socket.send(_HEADER.pack(_HEADER.size + len(request), kind, REQUEST_DUMP, 1, 0) + request)
        while True:
            raw = self._socket.recv(RECEIVE_BYTES)
            for found in messages(raw):
                if found.flags & INTERRUPTED:
                    self._tally.note(f"the kernel's table of {what} sockets changed while it was read")
                if found.type in (ERROR, DONE):
                    _raise(raw, found, must)
                    return
                if found.type != NOOP:
                    yield raw, found


def _raise(raw: bytes, found: Message, must: bool) -> None:
    """What ends a dump: an error number, 0 or nothing when all went well."""
    if found.end - found.start < 4:
        return
    code = -struct.unpack_from("=i", raw, found.start)[0]
    if code and (must or code not in _NO_SUCH):
        raise OSError(code, os.strerror(code))
