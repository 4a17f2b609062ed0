"""The functions that a library in memory exports. Pure: reads through a function, believes nothing."""

import struct
from collections.abc import Callable

from msgspec import Struct

Read = Callable[[int, int], bytes]
"""(address, size) -> the bytes from there on, fewer or none where there are none."""
MOST_NAMES = 1 << 16
MOST_BYTES = 1 << 24
"""Of names: a library of ours' has a hundredth of it, and a foreign one may have them all over its memory."""
_EXPORTS = struct.Struct("<IIHHI IIIIII")
_PE32_PLUS = 0x20B
_DIRECTORIES_AT = {_PE32_PLUS: 112, 0x10B: 96}


class Exports(Struct, frozen=True):
    """A library's name, extent and functions."""

    name: str
    size_bytes: int
    addresses: dict[str, int]
    """Of the functions that were asked for and are its own: what it forwards to others has none."""
    is_64_bit: bool = True


def parse_exports(read: Read, base: int, wanted: frozenset[str]) -> Exports | None:
    """What the library at `base` exports of `wanted`; None when there is none."""
    headers = read(base, 4096)
    if len(headers) < 0x40 or headers[:2] != b"MZ":
        return None
    (at,) = struct.unpack_from("<I", headers, 0x3C)
    if at + 24 + 120 > len(headers) or headers[at : at + 4] != b"PE\0\0":
        return None
    optional = at + 24
    (magic,) = struct.unpack_from("<H", headers, optional)
    directories = _DIRECTORIES_AT.get(magic)
    if directories is None:
        return None
    (size,) = struct.unpack_from("<I", headers, optional + 56)
    table, length = struct.unpack_from("<II", headers, optional + directories)
    raw = read(base + table, _EXPORTS.size) if table else b""
    if len(raw) < _EXPORTS.size:
        return Exports("", size, {}, magic == _PE32_PLUS)
    _, _, _, _, name, _, functions, names, functions_at, names_at, ordinals_at = _EXPORTS.unpack(raw)
    names, functions = min(names, MOST_NAMES), min(functions, MOST_NAMES)
    pointers = _words(read(base + names_at, 4 * names), "I")
    ordinals = _words(read(base + ordinals_at, 2 * names), "H")
    addresses = _words(read(base + functions_at, 4 * functions), "I")
    found = {}
    strings = _Strings(read, base)
    for pointer, ordinal in zip(pointers, ordinals, strict=False):
        text = strings.at(pointer)
        if text in wanted and ordinal < len(addresses) and not table <= addresses[ordinal] < table + length:
            found[text] = base + addresses[ordinal]
    return Exports(strings.at(name), size, found, magic == _PE32_PLUS)


class _Strings:
    """Names that stand close together, read in blocks."""

    _BLOCK = 1 << 16

    def __init__(self, read: Read, base: int) -> None:
        self._read, self._base = read, base
        self._left = MOST_BYTES
        self._start, self._block = 0, b""

    def at(self, offset: int) -> str:
        if not self._start <= offset < self._start + len(self._block) - 256:
            block = self._read(self._base + offset, self._BLOCK) if self._left > 0 else b""
            self._left -= len(block)
            self._start, self._block = offset, block
        raw = self._block[offset - self._start : offset - self._start + 256]
        return raw.split(b"\0", 1)[0].decode("ascii", "replace")


def _words(raw: bytes, letter: str) -> tuple[int, ...]:
    size = struct.calcsize(letter)
    return struct.unpack(f"<{len(raw) // size}{letter}", raw[: len(raw) // size * size])
