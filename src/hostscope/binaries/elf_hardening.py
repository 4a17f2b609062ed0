"""What an ELF file of any width and byte order was built with: PIE, RELRO, NX, and the like. Pure and bounded.

Source: the System V ABI, chapter 5; include/uapi/linux/elf.h; gcc's -fstack-protector and -D_FORTIFY_SOURCE.
`hostscope.binaries.elf` reads what cores and modules need, of 64 bits alone; here anything that runs counts.
"""

import re
from collections.abc import Iterator
from struct import Struct as Layout

from msgspec import Struct

from hostscope.binaries.content import Content, c_string, take, unpack
from hostscope.binaries.elf import MAGIC, NT_GNU_BUILD_ID, parse_notes
from hostscope.model.signature import Hardening

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
PT_GNU_STACK, PT_GNU_RELRO = 0x6474E551, 0x6474E552
PF_X = 1
DT_NULL, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_BIND_NOW, DT_RUNPATH, DT_FLAGS = 0, 5, 10, 14, 15, 24, 29, 30
DT_FLAGS_1 = 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 0x8, 0x1, 0x08000000
SHT_SYMTAB, SHT_NOTE = 2, 7
MOST_SEGMENTS, MOST_SECTIONS, MOST_TAGS, MOST_STRINGS = 4096, 4096, 4096, 32 << 20
MOST_NOTE_BYTES = 1 << 16
FORTIFIED = re.compile(rb"\0__[a-z0-9_]{2,40}_chk\0")
STACK_CHECK = b"\0__stack_chk_fail"
NOT_FORTIFY = frozenset({b"\0__stack_chk\0"})


class Segment(Struct, frozen=True):
    """One program header."""

    type: int
    flags: int
    offset: int
    address: int
    file_bytes: int


class Header(Struct, frozen=True):
    """An ELF header, and how to read on."""

    order: str
    wide: bool
    type: int
    segments: tuple[Segment, ...]
    sections_at: int
    section_size: int
    sections: int


def parse_header(content: Content) -> Header:
    """The header and the program headers. Raises `ValueError`."""
    ident = take(content, 0, 16)
    if ident[:4] != MAGIC or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        raise ValueError("not an ELF file")
    wide, order = ident[4] == 2, "<" if ident[5] == 1 else ">"
    word = "Q" if wide else "I"
    fields = unpack(Layout(f"{order}HHI{word}{word}{word}IHHHHHH"), content, 16)
    type_, _, _, _, segments_at, sections_at, _, _, size, count, section_size, sections, _ = fields
    layout = Layout(order + ("IIQQQQQQ" if wide else "IIIIIIII"))
    if count > MOST_SEGMENTS or sections > MOST_SECTIONS or (count and size != layout.size):
        raise ValueError("implausible headers")
    rows = layout.iter_unpack(take(content, segments_at, layout.size * count))
    return Header(order, wide, type_, tuple(_segment(row, wide) for row in rows), sections_at, section_size, sections)


def _segment(row: tuple[int, ...], wide: bool) -> Segment:
    if wide:
        return Segment(row[0], row[1], row[2], row[3], row[5])
    return Segment(row[0], row[6], row[1], row[2], row[4])


def parse_hardening(content: Content) -> Hardening:
    """Everything about one file. Raises `ValueError`. Cost: headers, the dynamic section and its names."""
    header = parse_header(content)
    tags = _dynamic(content, header)
    names = _names(content, header, tags)
    kind = _kind(header, tags)
    return Hardening(
        kind=kind,
        pie=kind in ("pie", "static-pie") if kind not in ("shared-object", "relocatable", "core", "other") else None,
        relro=_relro(header, tags),
        nx=_nx(header),
        stack_protector=None if names is None else STACK_CHECK in names,
        fortified=None if names is None else _is_fortified(names),
        run_path=_run_path(content, header, tags),
        build_id=_build_id(content, header),
    )


def _dynamic(content: Content, header: Header) -> dict[int, int]:
    """The dynamic section's values by tag; the first of each."""
    place = next((one for one in header.segments if one.type == PT_DYNAMIC), None)
    if place is None:
        return {}
    layout = Layout(header.order + ("qQ" if header.wide else "iI"))
    size = min(place.file_bytes, MOST_TAGS * layout.size)
    raw = content.read(place.offset, size) if place.offset <= content.size else b""
    tags: dict[int, int] = {}
    for tag, value in layout.iter_unpack(raw[: len(raw) // layout.size * layout.size]):
        if tag == DT_NULL:
            break
        tags.setdefault(tag & 0xFFFFFFFF, value)
    return tags


def _kind(header: Header, tags: dict[int, int]) -> str:
    interpreted = any(one.type == PT_INTERP for one in header.segments)
    if header.type == ET_EXEC:
        return "executable" if interpreted else "static"
    if header.type == ET_DYN:
        said = bool(tags.get(DT_FLAGS_1, 0) & DF_1_PIE)
        if interpreted and (said or DT_SONAME not in tags):  # libc.so.6 can be run, too
            return "pie"
        return "static-pie" if said else "shared-object"
    return {ET_REL: "relocatable", ET_CORE: "core"}.get(header.type, "other")


def _relro(header: Header, tags: dict[int, int]) -> str:
    if not any(one.type == PT_GNU_RELRO for one in header.segments):
        return "none"
    now = DT_BIND_NOW in tags or tags.get(DT_FLAGS, 0) & DF_BIND_NOW or tags.get(DT_FLAGS_1, 0) & DF_1_NOW
    return "full" if now or not tags else "partial"


def _nx(header: Header) -> bool | None:
    stack = next((one for one in header.segments if one.type == PT_GNU_STACK), None)
    return None if stack is None else not stack.flags & PF_X


def _names(content: Content, header: Header, tags: dict[int, int]) -> bytes | None:
    """All names that the file is linked by, one behind the other: of the dynamic section, else of the symbol table."""
    place = _strings(header, tags)
    if place is None:
        place = _symbol_strings(content, header)
    if place is None:
        return None
    offset, size = place
    return b"\0" + content.read(offset, min(size, MOST_STRINGS)) + b"\0" if offset < content.size else None


def _strings(header: Header, tags: dict[int, int]) -> tuple[int, int] | None:
    if DT_STRTAB not in tags or DT_STRSZ not in tags:
        return None
    address = tags[DT_STRTAB]
    for one in header.segments:
        if one.type == PT_LOAD and one.address <= address < one.address + one.file_bytes:
            return one.offset + address - one.address, tags[DT_STRSZ]
    return None


def _symbol_strings(content: Content, header: Header) -> tuple[int, int] | None:
    sections = list(_sections(content, header))
    for type_, _, _, link in sections:
        if type_ == SHT_SYMTAB and link < len(sections):
            return sections[link][1], sections[link][2]
    return None


def _sections(content: Content, header: Header) -> Iterator[tuple[int, int, int, int]]:
    """Type, offset, size and link of each section."""
    layout = Layout(header.order + ("IIQQQQIIQQ" if header.wide else "IIIIIIIIII"))
    size = header.sections * layout.size
    if header.section_size != layout.size or header.sections_at + size > content.size:
        return
    for row in layout.iter_unpack(take(content, header.sections_at, size)):
        yield row[1], row[4], row[5], row[6]


def _is_fortified(names: bytes) -> bool:
    doubled = names.replace(b"\0", b"\0\0")
    return any(found.group() not in NOT_FORTIFY for found in FORTIFIED.finditer(doubled))


def _run_path(content: Content, header: Header, tags: dict[int, int]) -> str | None:
    at = tags.get(DT_RUNPATH, tags.get(DT_RPATH))
    place = _strings(header, tags)
    if at is None or place is None or at >= place[1]:
        return None
    try:
        return c_string(content.read(place[0] + at, 4096) + b"\0", 0, 4097)
    except ValueError:
        return None  # not text: nothing a loader could use either


def _build_id(content: Content, header: Header) -> str | None:
    if header.order != "<":
        return None
    segments = [(one.offset, one.file_bytes) for one in header.segments if one.type == PT_NOTE]
    # Go's linker has it in a section alone
    sections = [(at, size) for type_, at, size, _ in _sections(content, header) if type_ == SHT_NOTE]
    for at, size in (*segments, *sections):
        for note in parse_notes(content.read(at, min(size, MOST_NOTE_BYTES))):
            if note.type == NT_GNU_BUILD_ID and note.owner == b"GNU":
                return note.data[:64].hex()
    return None
