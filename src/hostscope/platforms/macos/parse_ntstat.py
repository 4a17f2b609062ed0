"""Messages of the kernel's network statistics, built and parsed. Pure and bounded.

Source: bsd/net/ntstat.h in xnu (private; kernel control ``com.apple.network.statistics``, what nettop uses). Layouts of
xnu-4570 (macOS 10.13) to xnu-8796 (13); the protocol has no version in its messages. What a description has before the
addresses differs between releases (from macOS 11 on TCP has two more counters there), so they are looked for at each
place that is known, and have to be a pair of addresses of one family; a description that has none is not understood,
and is counted so by the caller.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts
from hostscope.platforms.macos.parse import parse_text
from hostscope.platforms.macos.parse_pcblist import address

CONTROL_NAME = b"com.apple.network.statistics"
SUCCESS, ERROR = 0, 1
ADD_ALL_SRCS, GET_UPDATE = 1002, 1007
SRC_ADDED, SRC_REMOVED, SRC_DESC, SRC_COUNTS, SRC_UPDATE, SRC_EXTENDED_UPDATE = 10001, 10002, 10003, 10004, 10006, 10007
ALL_SOURCES = 0xFFFF_FFFF_FFFF_FFFF
FLAG_AGGREGATE, FLAG_CONTINUATION, FLAG_CLOSING = 1, 2, 4
PROVIDERS = {2: "tcp", 3: "tcp", 4: "udp", 5: "udp", 8: "quic"}
"""NSTAT_PROVIDER_{TCP,UDP}_{KERNEL,USERLAND}, QUIC_USERLAND: userland ones carry what does not use sockets."""
MOST_MESSAGES = 4096
"""Of one datagram."""
_HEAD = struct.Struct("<QIHH")
_COUNTS = struct.Struct("<4Q")
_COUNTS_AT, _PROVIDER_AT, _DESCRIPTION_AT = 32, 144, 152
_SOCKADDR_BYTES = 28
_AF_INET, _AF_INET6 = 2, 30
_NAME_BYTES = 64


class _Form(NamedTuple):
    """Where a description has what: the process, its effective one, the two ends and its name."""

    pid: int
    effective_pid: int
    local: int
    name: int
    interface: int
    version: str


_TCP = (
    _Form(116, 120, 124, 196, 72, "macOS 11 and later"),
    _Form(100, 104, 108, 180, 56, "macOS 10.13 to 10.15"),
)
_UDP = (_Form(128, 196, 56, 132, 112, "macOS 10.13 and later"),)
FORMS = {"tcp": _TCP, "quic": _TCP, "udp": _UDP}


class Message(NamedTuple):
    """One message of the kernel."""

    type: int
    flags: int
    context: int
    source: int
    """The kernel's number of a connection; 0 where the message is about none."""
    body: bytes
    """The whole message."""


class Described(NamedTuple):
    """A connection and what it carried."""

    source: int
    protocol: str
    local: Endpoint
    remote: Endpoint | None
    pid: int
    name: str
    effective_pid: int | None
    interface: int
    counts: Counts
    closing: bool
    version: str
    """Whose layout the description had."""


def build_add_all(provider: int, context: int) -> bytes:
    """Asks for every connection of a provider, those that are there and those to come."""
    body = struct.pack("<QQIi16s", 0, 0, provider, 0, b"")
    return _HEAD.pack(context, ADD_ALL_SRCS, _HEAD.size + len(body), FLAG_AGGREGATE) + body


def build_update(context: int, more: bool) -> bytes:
    """Asks what all connections have carried; `more`: the rest of an answer that was cut."""
    flags = FLAG_AGGREGATE | (FLAG_CONTINUATION if more else 0)
    return _HEAD.pack(context, GET_UPDATE, _HEAD.size + 8, flags) + struct.pack("<Q", ALL_SOURCES)


def parse_messages(raw: bytes) -> Iterator[Message]:
    """The messages of one datagram. One that gives no length, as older kernels do, takes the rest of it."""
    at = 0
    for _ in range(MOST_MESSAGES):
        if at + _HEAD.size > len(raw):
            return
        context, kind, size, flags = _HEAD.unpack_from(raw, at)
        size = size or len(raw) - at
        if size < _HEAD.size or at + size > len(raw):
            return
        body = raw[at : at + size]
        (source,) = struct.unpack_from("<Q", body, _HEAD.size) if kind > 10000 and size >= 24 else (0,)
        yield Message(kind, flags, context, source, body)
        at += size


def parse_error(message: Message) -> int:
    """Darwin's number of the error that a message tells; 0 when it is cut off."""
    return int(struct.unpack_from("<I", message.body, _HEAD.size)[0]) if len(message.body) >= 20 else 0


def parse_counts(message: Message) -> Counts | None:
    """Bytes and packets of an update or of counts; None when it is cut off."""
    if len(message.body) < _COUNTS_AT + _COUNTS.size:
        return None
    packets_in, in_, packets_out, out = _COUNTS.unpack_from(message.body, _COUNTS_AT)
    return Counts(out, in_, packets_out, packets_in)


def parse_update(message: Message) -> Described | None:
    """An update; None for a provider or a layout that is not known."""
    body = message.body
    counts = parse_counts(message)
    if counts is None or len(body) < _DESCRIPTION_AT:
        return None
    protocol = PROVIDERS.get(struct.unpack_from("<I", body, _PROVIDER_AT)[0])
    for form in FORMS.get(protocol or "", ()):
        found = _described(message, protocol or "", body[_DESCRIPTION_AT:], form, counts)
        if found:
            return found
    return None


def _described(message: Message, protocol: str, raw: bytes, form: _Form, counts: Counts) -> Described | None:
    if len(raw) < form.name + _NAME_BYTES or len(raw) < form.effective_pid + 4:
        return None
    ends = [_end(raw[start : start + _SOCKADDR_BYTES]) for start in (form.local, form.local + _SOCKADDR_BYTES)]
    (local, family), (remote, other) = ends
    (pid,), (effective,) = (struct.unpack_from("<i", raw, place) for place in (form.pid, form.effective_pid))
    (interface,) = struct.unpack_from("<I", raw, form.interface)
    if local is None or other not in (family, None) or pid < 0:
        return None
    name = parse_text(raw[form.name : form.name + _NAME_BYTES])
    connected = remote if remote and remote.port else None
    theirs = effective if effective > 0 and effective != pid else None
    closing = bool(message.flags & FLAG_CLOSING)
    return Described(
        message.source, protocol, local, connected, pid, name, theirs, interface, counts, closing, form.version
    )


def _end(raw: bytes) -> tuple[Endpoint | None, int | None]:
    """A struct sockaddr_in or sockaddr_in6, and its family; neither when it is all zeros, or something else."""
    size, family = raw[0], raw[1]
    (port,) = struct.unpack_from(">H", raw, 2)
    if (size, family) == (16, _AF_INET):
        return Endpoint(address(bytes(12) + raw[4:8], False), port), family
    if (size, family) == (28, _AF_INET6):
        return Endpoint(address(raw[8:24], True), port), family
    return None, None if not any(raw) else -1
