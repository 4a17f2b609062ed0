"""BTF, the kernel's type information (Documentation/bpf/btf.rst), parsed.

Pure: bytes in; anything malformed is a `ValueError`. One pass over the types keeps where each begins; names are
compared as offsets into the string table, so nothing is decoded but what is asked for.
"""

import struct
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)
COMPOSITE = frozenset({STRUCT, UNION})

_MODIFIERS = frozenset({TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG})
_HEADER = struct.Struct("<HBBIIIII")
_MAGIC = 0xEB9F
_DEEPEST = 64
"""Chains of typedefs and nested arrays end long before; a loop would not."""

_EXTRA_WORDS = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
_WORDS_PER_MEMBER = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}


class Member(NamedTuple):
    """One member of a struct or union."""

    name: bytes
    type: int
    bit_offset: int
    bit_size: int
    """0 unless it is a bit field."""


class _Lengths(dict[int, int]):
    """Length in words of a type, by its info word; most of the kernel's 100,000 types share a few hundred of them."""

    def __missing__(self, info: int) -> int:
        kind, count = info >> 24 & 31, info & 0xFFFF
        if not INT <= kind <= ENUM64:
            raise ValueError(f"BTF kind {kind} is not known")
        length = self[info] = 3 + _EXTRA_WORDS.get(kind, 0) + _WORDS_PER_MEMBER.get(kind, 0) * count
        return length


class Btf:
    """All types of one blob. Type ids count from 1; 0 is void."""

    def __init__(self, raw: bytes) -> None:
        """Cost: about 25 ms for the 126,000 types of a kernel.

        Raises:
            ValueError: this is not BTF, or it is cut short.
        """
        if len(raw) < _HEADER.size:
            raise ValueError("BTF is cut short")
        magic, _, _, header, types, types_size, strings, strings_size = _HEADER.unpack_from(raw)
        if magic != _MAGIC:
            raise ValueError("this is not little-endian BTF")
        if header + max(types + types_size, strings + strings_size) > len(raw) or types_size % 4:
            raise ValueError("BTF is cut short")
        self.types_start = header + types
        self._strings = raw[header + strings : header + strings + strings_size]
        self._words = array("I", raw[self.types_start : self.types_start + types_size])
        self._starts = _starts(self._words)

    def __len__(self) -> int:
        return len(self._starts)

    def text(self, offset: int) -> bytes:
        """The string at an offset of the string table."""
        end = self._strings.find(b"\0", offset)
        if end < 0:
            raise ValueError("BTF name is out of bounds")
        return self._strings[offset:end]

    def start(self, type_id: int) -> int:
        """Index of a type's first word."""
        if not 0 < type_id < len(self._starts):
            raise ValueError(f"BTF type {type_id} does not exist")
        return self._starts[type_id]

    def kind(self, type_id: int) -> int:
        """One of the kinds above; 0 for void."""
        return self._words[self.start(type_id) + 1] >> 24 & 31 if type_id else 0

    def name(self, type_id: int) -> bytes:
        """Empty for anonymous types."""
        return self.text(self._words[self.start(type_id)])

    def target(self, type_id: int) -> int:
        """What a pointer, modifier, variable or function refers to; the size of a type that has one."""
        return self._words[self.start(type_id) + 2]

    def _places(self) -> Iterator[tuple[int, int]]:
        """Every type with the index of its first word; not void."""
        return islice(enumerate(self._starts), 1, None)

    def of_kind(self, kind: int) -> Iterator[int]:
        """Every type of a kind."""
        words = self._words
        return (type_id for type_id, at in self._places() if words[at + 1] >> 24 & 31 == kind)

    def find(self, names: frozenset[bytes]) -> dict[bytes, list[int]]:
        """Types by their names, whatever their kind. One pass for all of them."""
        offsets = {offset: name for name in names if (offset := self._strings.find(b"\0" + name + b"\0") + 1)}
        found: dict[bytes, list[int]] = {}
        words = self._words
        hits = [(type_id, words[at]) for type_id, at in self._places() if words[at] in offsets]
        for type_id, offset in hits:
            found.setdefault(offsets[offset], []).append(type_id)
        return found

    def members(self, type_id: int) -> list[Member]:
        """Members of a struct or union, in order."""
        at, words = self.start(type_id), self._words
        info, members = words[at + 1], []
        has_bit_fields = info >> 31
        for place in range(at + 3, at + 3 + 3 * (info & 0xFFFF), 3):
            offset = words[place + 2]
            bits, offset = (offset >> 24, offset & 0xFFFFFF) if has_bit_fields else (0, offset)
            members.append(Member(self.text(words[place]), words[place + 1], offset, bits))
        return members

    def member(self, type_id: int, name: bytes, depth: int = 0) -> Member | None:
        """One member by name, through anonymous structs and unions; its offset counts from the outermost."""
        if depth > _DEEPEST:
            raise ValueError("BTF structs are nested too deeply")
        anonymous = []
        for found in self.members(type_id):
            if found.name == name:
                return found
            if not found.name and self.kind(inner := self.strip(found.type)) in COMPOSITE:
                anonymous.append((inner, found.bit_offset))
        for inner, offset in anonymous:
            deeper = self.member(inner, name, depth + 1)
            if deeper:
                return deeper._replace(bit_offset=deeper.bit_offset + offset)
        return None

    def enumerators(self, type_id: int) -> list[tuple[bytes, int]]:
        """Names and values of an enumeration, in order; empty for other types."""
        at, words, kind = self.start(type_id), self._words, self.kind(type_id)
        step = _WORDS_PER_MEMBER[kind] if kind in (ENUM, ENUM64) else 0
        info, found = words[at + 1], []
        for place in range(at + 3, at + 3 + step * (info & 0xFFFF), step or 1):
            value = words[place + 1] | (words[place + 2] << 32 if kind == ENUM64 else 0)
            top = 1 << (63 if kind == ENUM64 else 31)
            found.append((self.text(words[place]), value - 2 * top if info >> 31 and value & top else value))
        return found

    def is_signed(self, type_id: int) -> bool:
        """Whether a type is a signed integer, or an enumeration with negative values."""
        type_id = self.strip(type_id)
        at, kind = self.start(type_id) if type_id else 0, self.kind(type_id)
        if kind == INT:
            return bool(self._words[at + 3] >> 24 & 1)
        return kind in (ENUM, ENUM64) and bool(self._words[at + 1] >> 31)

    def strip(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        for _ in range(_DEEPEST):
            if not type_id or self.kind(type_id) not in _MODIFIERS:
                return type_id
            type_id = self.target(type_id)
        raise ValueError("BTF typedefs form a loop")

    def array(self, type_id: int) -> tuple[int, int]:
        """Element type and number of elements of an array."""
        at = self.start(type_id) + 3
        return self._words[at], self._words[at + 2]

    def size(self, type_id: int) -> int:
        """Bytes of a value of this type."""
        count = 1
        for _ in range(_DEEPEST):
            type_id = self.strip(type_id)
            kind = self.kind(type_id)
            if kind != ARRAY:
                return count * (8 if kind == PTR else self.target(type_id) if type_id else 0)
            type_id, elements = self.array(type_id)
            count *= elements
        raise ValueError("BTF arrays are nested too deeply")


def _starts(words: "array[int]") -> list[int]:
    """Index of the first word of each type; the entry of type 0, void, means nothing."""
    starts, at, end, lengths = [0], 0, len(words), _Lengths()
    add = starts.append
    try:
        while at < end:
            add(at)
            at += lengths[words[at + 1]]
    except IndexError:
        raise ValueError("BTF types are cut short") from None
    if at != end:
        raise ValueError("BTF types are cut short")
    return starts
