"""The name that a client asks a server for, from the first payloads of a connection: TLS, QUIC or HTTP/1."""

import re
from collections import OrderedDict
from collections.abc import Hashable

from hostscope.model.dns import Name
from hostscope.wire.http import MAX_HEAD_BYTES, http_host
from hostscope.wire.quic import QuicHello, is_initial
from hostscope.wire.stream import Stream
from hostscope.wire.tls import HANDSHAKE, MAX_HELLO_BYTES, ClientHello, hello_in_records

MAX_OPEN = 1024
"""Connections whose hello has begun and not ended; of more the oldest are given up."""
MAX_DATAGRAMS = 16
"""Of one connection; a hello that takes more is given up."""
_MAY_BEGIN = re.compile(rb"\x16|[A-Z]{3,16} ")
"""A TLS handshake, or the method of an HTTP request."""


def _named(hello: ClientHello | None, source: str) -> Name | None:
    if hello is None or hello.server_name is None:
        return None
    return Name(hello.server_name, source, hello.alpn, hello.ech)


class Hellos:
    """Names of many connections, each from as many payloads as it takes; bounded, and what was given up is counted."""

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self.given_up = 0
        self._limit = limit
        self._open: OrderedDict[Hashable, _TcpHello | _UdpHello] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def feed(self, flow: Hashable, protocol: str, payload: bytes, sequence: int | None = None) -> Name | None:
        """The name, with the payload that makes it known and never again.

        Give every payload that the client of a flow sends, from its first one on, until the flow has a name or a
        few payloads have passed. What begins like none of the three costs next to nothing, a TLS hello 10 us, a QUIC
        Initial 100 us.

        Args:
            flow: whatever names the flow.
            protocol: ``tcp``, ``udp`` or ``quic``.
            sequence: TCP's number of the first byte; None takes payloads in the order in which they are given.
        """
        part = self._open.get(flow) or _begin(protocol, payload)
        if part is None:
            return None
        name = part.feed(payload, sequence)
        if name is None and not part.ended:
            self._keep(flow, part)
        elif self._open.pop(flow, None) and name is None:
            self.given_up += 1
        return name

    def _keep(self, flow: Hashable, part: "_TcpHello | _UdpHello") -> None:
        self._open[flow] = part
        if len(self._open) > self._limit:
            self._open.popitem(last=False)
            self.given_up += 1


class _TcpHello:
    """TLS records or an HTTP head, segment by segment."""

    def __init__(self) -> None:
        self.ended = False
        self._stream = Stream(MAX_HELLO_BYTES, limit_pieces=16)
        self._first: int | None = None
        self._fed = 0

    def feed(self, payload: bytes, sequence: int | None) -> Name | None:
        if self._first is None:
            self._first = sequence
        known = None not in (sequence, self._first)
        offset = (sequence - self._first) & 0xFFFFFFFF if known else self._stream.end  # type: ignore[operator]
        self._fed += 1
        self.ended = not self._stream.add(offset, payload) or self._fed >= MAX_DATAGRAMS
        return self._read(self._stream.ready)

    def _read(self, ready: bytes) -> Name | None:
        if ready[0] != HANDSHAKE:
            domain = http_host(ready)
            self.ended |= len(ready) >= MAX_HEAD_BYTES or b"\r\n\r\n" in ready
            return Name(domain, "http") if domain else None
        hello = hello_in_records(ready)
        self.ended |= (hello is None and len(ready) > 11) or (hello is not None and hello.complete)
        return _named(hello, "tls")


class _UdpHello:
    """QUIC Initial packets, datagram by datagram."""

    def __init__(self) -> None:
        self.ended = False
        self._hello = QuicHello()
        self._fed = 0

    def feed(self, payload: bytes, sequence: int | None) -> Name | None:
        self._fed += 1
        hello = self._hello.feed(payload)
        self.ended = self._fed >= MAX_DATAGRAMS or (hello is not None and hello.complete)
        return _named(hello, "quic")


def _begin(protocol: str, payload: bytes) -> _TcpHello | _UdpHello | None:
    """A place for a flow that begins like one with a name."""
    if protocol == "tcp":
        return _TcpHello() if _MAY_BEGIN.match(payload) else None
    return _UdpHello() if protocol in ("udp", "quic") and is_initial(payload) else None
