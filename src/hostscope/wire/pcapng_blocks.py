"""The blocks of a pcapng file that describe: interfaces, their statistics, names.

Each parser takes the body of one block, without type and lengths, and any bytes will do.
"""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from hostscope.model.text import decode
from hostscope.wire.file_record import FileInterface

_COMMENT = 1
_NAME, _RESOLUTION, _FILTER, _SYSTEM, _OFFSET = 2, 9, 11, 12, 14
_RECEIVED, _DROPPED, _SYSTEM_DROPPED = 4, 5, 7
_IPV4_NAMES, _IPV6_NAMES = 1, 2


class Clock(NamedTuple):
    """How an interface's time stamps count: units of base**-exponent seconds, after an offset."""

    base: int = 10
    exponent: int = 6
    offset_s: int = 0


class Statistics(NamedTuple):
    """What an interface counted itself."""

    interface: int
    received: int | None
    dropped: int | None


def parse_interface(body: bytes, order: str) -> tuple[FileInterface, Clock] | None:
    """An interface description block; None if it is too short to be one."""
    if len(body) < 8:
        return None
    link, snap = struct.unpack_from(order + "H2xI", body)
    options = dict(_options(body[8:], order))
    clock = _clock(options.get(_RESOLUTION, b"\x06"), options.get(_OFFSET, b""), order)
    name, what, system = (options.get(code) for code in (_NAME, _FILTER, _SYSTEM))
    found = FileInterface(
        None if name is None else decode(name), link, snap or None,
        # The first byte says in which form; 0 is the text of libpcap.
        decode(what[1:]) if what and what[0] == 0 else None,
        None if system is None else decode(system),
    )  # fmt: skip
    return found, clock


def parse_statistics(body: bytes, order: str) -> Statistics | None:
    """An interface statistics block."""
    if len(body) < 12:
        return None
    (interface,) = struct.unpack_from(order + "I", body)
    counts = {
        code: struct.unpack(order + "Q", value)[0] for code, value in _options(body[12:], order) if len(value) == 8
    }
    drops = [counts[code] for code in (_DROPPED, _SYSTEM_DROPPED) if code in counts]
    return Statistics(interface, counts.get(_RECEIVED), sum(drops) if drops else None)


def parse_names(body: bytes, order: str) -> Iterator[tuple[str, str]]:
    """Address and name for each pair of a name resolution block."""
    for kind, value in _options(body, order):
        size = {_IPV4_NAMES: 4, _IPV6_NAMES: 16}.get(kind)
        if size is None or len(value) <= size:
            continue
        address = socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, value[:size])
        for name in value[size:].split(b"\0"):
            if name:
                yield address, decode(name)


def parse_comments(options: bytes, order: str) -> tuple[str, ...]:
    """The comments among the options of any block."""
    return tuple(decode(value) for code, value in _options(options, order) if code == _COMMENT)


def _options(body: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Code and value of each option (or record of the same form) up to the end mark; a value that is cut ends it."""
    at = 0
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        at += 4
        if code == 0 or at + size > len(body):
            return
        yield code, body[at : at + size]
        at += (size + 3) & ~3


def _clock(resolution: bytes, offset: bytes, order: str) -> Clock:
    unit = resolution[0] if resolution else 6
    seconds = struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0
    return Clock(2 if unit & 0x80 else 10, unit & 0x7F, seconds)
