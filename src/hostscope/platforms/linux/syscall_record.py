"""Records of the calls ring, as bpf/syscalls.bpf.c writes them. Pure: bytes in, tuples out."""

import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple


class Kind(IntEnum):
    """What a record tells of."""

    CALL = 1
    BEGUN = 2
    ENDED = 3


class Mark(IntFlag):
    """What is known about a call besides its numbers."""

    WAS_WRITABLE = 1
    HAS_TEXTS = 2
    NO_RETURN = 4
    HAS_DURATION = 8
    TEXT_CUT = 16
    TEXT_UNREAD = 32
    IS_ADDRESS = 64
    SECOND_CUT = 128
    SECOND_UNREAD = 256
    WRITABLE_UNSEEN = 512


class Head(NamedTuple):
    """What every record begins with."""

    kind: int
    flags: int
    pid: int
    tid: int
    number: int
    at: int
    """ns since boot, suspend included."""
    start: int
    lost: int
    """Records that had been dropped until then."""


class Call(NamedTuple):
    """A call that returned, or that never does."""

    number: int
    result: int | None
    arguments: tuple[int, ...]
    texts: tuple[bytes | None, ...] = ()
    """Of the arguments that are paths, in their order; or the address of a socket, with whatever stands behind it. None
    is what could not be read."""
    duration_ns: int | None = None
    was_writable: bool | None = False
    """For mprotect(2): of any of the memory, before. None when that could not be looked at."""
    cut: tuple[int, ...] = ()
    """Which of the texts are longer than what was kept of them."""


HEAD = struct.Struct("<HHIIIQQQ")
_RETURNED = struct.Struct("<qQ6Q")
TEXT_BYTES = 256
ADDRESS_BYTES = 128
"""The most that connect(2) and its like take."""
_TEXTS_AT = HEAD.size + _RETURNED.size
_CUT, _UNREAD = (Mark.TEXT_CUT, Mark.SECOND_CUT), (Mark.TEXT_UNREAD, Mark.SECOND_UNREAD)
"""Of the first and of the second text."""


def parse_head(raw: bytes) -> Head:
    """The head of a record.

    Raises:
        ValueError: it is too short.
    """
    if len(raw) < HEAD.size:
        raise ValueError(f"a record of {len(raw)} bytes")
    return Head._make(HEAD.unpack_from(raw))


def parse_call(raw: bytes, head: Head) -> Call:
    """The rest of a call's record.

    Raises:
        ValueError: it is not whole.
    """
    if len(raw) < _TEXTS_AT:
        raise ValueError(f"a call's record of {len(raw)} bytes")
    result, duration, *arguments = _RETURNED.unpack_from(raw, HEAD.size)
    flags = head.flags
    if not flags:
        return Call(head.number, result, tuple(arguments))
    return Call(
        number=head.number,
        result=None if flags & Mark.NO_RETURN else result,
        arguments=tuple(arguments),
        texts=_texts(raw, flags) if flags & Mark.HAS_TEXTS else (),
        duration_ns=duration if flags & Mark.HAS_DURATION else None,
        was_writable=None if flags & Mark.WRITABLE_UNSEEN else bool(flags & Mark.WAS_WRITABLE),
        cut=tuple(slot for slot, mark in enumerate(_CUT) if flags & mark),
    )


def _texts(raw: bytes, flags: int) -> tuple[bytes | None, ...]:
    if flags & Mark.IS_ADDRESS:
        return (None if flags & Mark.TEXT_UNREAD else raw[_TEXTS_AT : _TEXTS_AT + ADDRESS_BYTES],)
    slots = (raw[at : at + TEXT_BYTES] for at in range(_TEXTS_AT, _TEXTS_AT + 2 * TEXT_BYTES, TEXT_BYTES))
    return tuple(None if flags & mark else slot.split(b"\0", 1)[0] for mark, slot in zip(_UNREAD, slots, strict=True))
