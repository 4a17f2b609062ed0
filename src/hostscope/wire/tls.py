"""The first message of a TLS client: which server it wants (SNI) and what it offers to speak (ALPN).

Bounded and forgiving: what stands before the point where bytes end is reported, because a hello often spans two
packets and only the first may be there. Source: RFC 8446 4.1.2 and 5.1, RFC 6066 3, RFC 7301 3.1, RFC 9849 5.
"""

from msgspec import Struct

from hostscope.model.text import decode

HANDSHAKE = 22
CLIENT_HELLO = 1
MAX_HELLO_BYTES = 1 << 16
_MAX_RECORD_BYTES = 16_384 + 256
_MAX_RECORDS = 64
_MAX_EXTENSIONS = 128
_MAX_PROTOCOLS = 16
_MAX_NAME_BYTES = 255
_SERVER_NAME, _ALPN, _ECH = 0, 16, 0xFE0D


class ClientHello(Struct, frozen=True):
    """What a ClientHello says, as far as its bytes were there."""

    server_name: str | None
    alpn: tuple[str, ...]
    ech: bool
    """An encrypted hello is offered (browsers also send a made-up one, which looks alike)."""
    complete: bool
    """All of it was there: what is absent was not said."""


class _Short(Exception):
    """The bytes end here."""


class _Reader:
    """Takes lengths and the bytes they announce."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        if count > self.left():
            raise _Short
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Bytes with their length, a number of `size` bytes, before them."""
        return self.take(self.number(size))


def hello_in_records(data: bytes) -> ClientHello | None:
    """The ClientHello at the beginning of a TLS connection; None when it is something else.

    Source: the bytes a client sends first, in TLS records; a hello may span several.
    """
    return parse_client_hello(_handshake(data))


def _handshake(data: bytes) -> bytes:
    """What the handshake records at the beginning hold, the last one possibly in part."""
    parts, at = [], 0
    for _ in range(_MAX_RECORDS):
        kind, major, size = data[at : at + 1], data[at + 1 : at + 2], int.from_bytes(data[at + 3 : at + 5], "big")
        if kind != bytes([HANDSHAKE]) or major != b"\x03" or not 0 < size <= _MAX_RECORD_BYTES:
            break
        parts.append(data[at + 5 : at + 5 + size])
        at += 5 + size
    return b"".join(parts)


def parse_client_hello(message: bytes) -> ClientHello | None:
    """A handshake message, as it stands in TLS records and in QUIC's CRYPTO frames; None when it is no ClientHello."""
    if len(message) < 6 or message[0] != CLIENT_HELLO or message[4] != 3:
        return None
    size = int.from_bytes(message[1:4], "big")
    if not 38 <= size <= MAX_HELLO_BYTES:
        return None
    return _parse_body(message[4 : 4 + size], complete=len(message) >= 4 + size)


def _parse_body(body: bytes, complete: bool) -> ClientHello:
    reader, found = _Reader(body), _Found()
    try:
        reader.take(34)  # version and random
        reader.vector(1)  # session
        reader.vector(2)  # cipher suites
        reader.vector(1)  # compression
        if complete and not reader.left():
            return found.hello(complete=True)
        reader.number(2)
        for _ in range(_MAX_EXTENSIONS):
            if complete and not reader.left():
                break
            found.extension(reader.number(2), reader.vector(2))
    except _Short:
        return found.hello(complete=False)
    return found.hello(complete)


class _Found:
    """What extensions said so far; of a repeated one, which is forbidden, the first counts."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.alpn: tuple[str, ...] = ()
        self.ech = False

    def extension(self, kind: int, data: bytes) -> None:
        if kind == _SERVER_NAME and self.name is None:
            self.name = _server_name(data)
        elif kind == _ALPN and not self.alpn:
            self.alpn = _protocols(data)
        elif kind == _ECH:
            self.ech = True

    def hello(self, complete: bool) -> ClientHello:
        return ClientHello(self.name, self.alpn, self.ech, complete)


def _server_name(data: bytes) -> str | None:
    reader = _Reader(data)
    try:
        names = _Reader(reader.vector(2))
        if names.number(1) != 0:  # host_name, the only kind there is
            return None
        return domain_of(names.vector(2))
    except _Short:
        return None


def domain_of(raw: bytes) -> str | None:
    """A domain as a client wrote it: lower case, no last dot; None when it cannot be one by its length."""
    name = raw.rstrip(b".").lower()
    return decode(name) if 0 < len(name) <= _MAX_NAME_BYTES else None


def _protocols(data: bytes) -> tuple[str, ...]:
    reader = _Reader(data)
    protocols: list[str] = []
    try:
        names = _Reader(reader.vector(2))
        while names.left() and len(protocols) < _MAX_PROTOCOLS:
            protocols.append(decode(names.vector(1)))
    except _Short:
        pass  # what was readable is kept
    return tuple(protocols)
