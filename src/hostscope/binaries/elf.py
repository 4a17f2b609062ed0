"""ELF files of 64 bits, little endian: header, segments, notes. Pure and bounded; nonsense is a `ValueError`.

Source: the System V ABI, chapter 4 and 5; include/uapi/linux/elf.h.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import islice

from msgspec import Struct

MAGIC = b"\x7fELF"
ET_EXEC, ET_DYN, ET_CORE = 2, 3, 4
PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_PHDR = 1, 2, 4, 6
PF_X, PF_W, PF_R = 1, 2, 4
PN_XNUM = 0xFFFF
"""More segments than fit: their number stands in the first section's sh_info."""
MACHINES = {62: "x86_64", 183: "aarch64"}
NT_GNU_BUILD_ID = 3
HEADER = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
NOTE = struct.Struct("<III")
MOST_SEGMENTS = 1 << 20
MOST_NOTES = 1 << 20
MOST_IDENTIFYING = 16
"""Note segments in which the linker's digest is looked for; programs have two or three."""

Read = Callable[[int, int], bytes]
"""(offset, size) -> at most so many bytes of the file."""


class Segment(Struct, frozen=True, gc=False):
    """One program header."""

    type: int
    flags: int
    offset: int
    address: int
    file_bytes: int
    memory_bytes: int


class Elf(Struct, frozen=True):
    """What an ELF file's headers say."""

    type: int
    machine: int
    entry: int
    segments: tuple[Segment, ...]

    @property
    def architecture(self) -> str:
        """As kernels call it."""
        return MACHINES.get(self.machine, f"machine {self.machine}")


class Note(Struct, frozen=True, gc=False):
    """One entry of a PT_NOTE segment."""

    owner: bytes
    type: int
    data: bytes


def parse_elf(read: Read) -> Elf:
    """The headers of a file."""
    raw = read(0, HEADER.size)
    if len(raw) < HEADER.size or raw[:4] != MAGIC:
        raise ValueError("not an ELF file")
    fields = HEADER.unpack(raw)
    if fields[1:3] != (2, 1):
        raise ValueError("not an ELF file of 64 bits, little endian")
    (type_, machine, _, entry, segments_at, sections_at, _, _, size, count) = fields[6:16]
    if count == PN_XNUM:
        count = _many(read(sections_at, SECTION.size))
    if not count:
        return Elf(type_, machine, entry, ())
    if size != SEGMENT.size or count > MOST_SEGMENTS:
        raise ValueError("implausible program headers")
    table = read(segments_at, size * count)
    if len(table) < size * count:
        raise ValueError("program headers are cut short")
    return Elf(type_, machine, entry, tuple(_segment(row) for row in SEGMENT.iter_unpack(table)))


def _many(section: bytes) -> int:
    if len(section) < SECTION.size:
        raise ValueError("the section that counts segments is missing")
    count: int = SECTION.unpack(section)[7]
    return count


def _segment(row: tuple[int, ...]) -> Segment:
    type_, flags, offset, address, _, file_bytes, memory_bytes, _ = row
    return Segment(type_, flags, offset, address, file_bytes, memory_bytes)


def parse_notes(raw: bytes) -> Iterator[Note]:
    """The entries of a PT_NOTE segment, as far as they are whole."""
    place = 0
    for _ in range(MOST_NOTES):
        if place + NOTE.size > len(raw):
            return
        owner_size, data_size, type_ = NOTE.unpack_from(raw, place)
        owner_at = place + NOTE.size
        data_at = owner_at + _aligned(owner_size)
        if data_at + data_size > len(raw):
            return
        yield Note(raw[owner_at : owner_at + owner_size].rstrip(b"\0"), type_, raw[data_at : data_at + data_size])
        place = data_at + _aligned(data_size)


def build_note(owner: bytes, type_: int, data: bytes) -> bytes:
    """One entry of a PT_NOTE segment."""
    name = owner + b"\0"
    padded = name.ljust(_aligned(len(name)), b"\0") + data.ljust(_aligned(len(data)), b"\0")
    return NOTE.pack(len(name), len(data), type_) + padded


def build_id(elf: Elf, read: Read) -> str | None:
    """The linker's digest of the file, hexadecimal."""
    for segment in islice((one for one in elf.segments if one.type == PT_NOTE), MOST_IDENTIFYING):
        for note in parse_notes(read(segment.offset, min(segment.file_bytes, 1 << 16))):
            if note.type == NT_GNU_BUILD_ID and note.owner == b"GNU":
                return note.data[:64].hex()
    return None


def _aligned(size: int) -> int:
    return (size + 3) & ~3
