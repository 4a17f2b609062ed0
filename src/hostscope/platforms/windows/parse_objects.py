"""Tables of handles and of the types of objects, as the kernel gives them on 64-bit Windows. Pure."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from hostscope.model.text import decode_utf16

_HEAD_BYTES = 16
_ENTRY = struct.Struct("<QQQ I HH I 4x")
ENTRY_BYTES = _ENTRY.size
_TYPE = struct.Struct("<HHIQ 74x B 13x")
TYPE_BYTES = _TYPE.size
_FIRST_INDEX = 2
"""Of the first type, where an entry does not tell its own (before Windows 8.1)."""

View = bytes | memoryview


class HandleEntry(NamedTuple):
    """One open handle."""

    value: int
    access: int
    type_index: int
    address: int
    """Of the object in the kernel; 0 for those who may not know."""


def parse_handles(raw: View, pid: int) -> Iterator[HandleEntry]:
    """The handles of one process, from SystemExtendedHandleInformation.

    Raises:
        ValueError: the table is cut short.
    """
    if len(raw) < _HEAD_BYTES:
        raise ValueError("the table of handles is cut short")
    count = struct.unpack_from("<Q", raw)[0]
    end = _HEAD_BYTES + count * ENTRY_BYTES
    if end > len(raw):
        raise ValueError("the table of handles is cut short")
    for address, owner, value, access, _, kind, _ in _ENTRY.iter_unpack(raw[_HEAD_BYTES:end]):
        if owner == pid:
            yield HandleEntry(value, access, kind, address)


def parse_types(raw: View, address: int) -> dict[int, str]:
    """Names of the types of objects by their index, from ObjectTypesInformation.

    Args:
        address: where `raw` was in our memory; names are pointed to.

    Raises:
        ValueError: it is cut short.
    """
    if len(raw) < 4:
        raise ValueError("the list of types is cut short")
    found: dict[int, str] = {}
    offset = 8
    for place in range(min(struct.unpack_from("<I", raw)[0], 256)):
        if offset + TYPE_BYTES > len(raw):
            raise ValueError("the list of types is cut short")
        length, room, _, pointer, index = _TYPE.unpack_from(raw, offset)
        start = pointer - address
        if start < 0 or start + length > len(raw):
            raise ValueError("the name of a type is outside of the list")
        found[index or place + _FIRST_INDEX] = decode_utf16(bytes(raw[start : start + (length & ~1)]))
        offset += TYPE_BYTES + (room + 7 & ~7)
    return found
