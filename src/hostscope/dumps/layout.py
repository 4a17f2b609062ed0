"""Where everything stands in a dump's file: the headers of an ELF core, and the offset of each region."""

from collections.abc import Sequence

from msgspec import Struct

from hostscope.binaries.elf import (
    ET_CORE,
    HEADER,
    MAGIC,
    PF_R,
    PF_W,
    PF_X,
    PN_XNUM,
    PT_LOAD,
    PT_NOTE,
    SECTION,
    SEGMENT,
)
from hostscope.model.memory import Region

PAGE_BYTES = 4096
MACHINES = {"x86_64": 62, "aarch64": 183}


class Layout(Struct, frozen=True):
    """What is written before the regions, and where each of them goes."""

    head: bytes
    offsets: tuple[int | None, ...]
    """Of each region's first byte; None for those that are left out."""
    size_bytes: int


def raw_layout(regions: Sequence[Region], included: Sequence[bool]) -> Layout:
    """The regions one after the other, and nothing else."""
    offsets, end = place(regions, included, 0)
    return Layout(b"", offsets, end)


def core_layout(regions: Sequence[Region], included: Sequence[bool], notes: bytes, architecture: str) -> Layout:
    """An ELF core: headers, notes, then each region at a page; those that are left out have no bytes in it."""
    count = len(regions) + 1
    many = count >= PN_XNUM
    notes_at = HEADER.size + SEGMENT.size * count + SECTION.size * many
    offsets, end = place(regions, included, _paged(notes_at + len(notes)))
    sections_at = HEADER.size + SEGMENT.size * count if many else 0
    head = [_header(MACHINES[architecture], count, sections_at)]
    head.append(SEGMENT.pack(PT_NOTE, 0, notes_at, 0, 0, len(notes), 0, 4))
    head += [_segment(region, offset, end) for region, offset in zip(regions, offsets, strict=True)]
    if many:  # sh_info of the first section is the number of segments
        head.append(SECTION.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0))
    return Layout(b"".join([*head, notes]), offsets, end)


def place(regions: Sequence[Region], included: Sequence[bool], start: int) -> tuple[tuple[int | None, ...], int]:
    """Regions one after the other from `start` on: the offset of each that is included, and the end."""
    offsets: list[int | None] = []
    for region, wanted in zip(regions, included, strict=True):
        offsets.append(start if wanted else None)
        start += region.size_bytes * wanted
    return tuple(offsets), start


def _header(machine: int, count: int, sections_at: int) -> bytes:
    many = count >= PN_XNUM
    return HEADER.pack(
        MAGIC, 2, 1, 1, 0, 0, ET_CORE, machine, 1, 0, HEADER.size, sections_at, 0, HEADER.size, SEGMENT.size,
        PN_XNUM if many else count, SECTION.size if many else 0, int(many), 0,
    )  # fmt: skip


def _segment(region: Region, offset: int | None, end: int) -> bytes:
    bits = zip("rwx", (PF_R, PF_W, PF_X), strict=True)
    flags = sum(bit for letter, bit in bits if letter in region.permissions)
    size = region.size_bytes
    place, held = (end, 0) if offset is None else (offset, size)
    # Of "physical" addresses debuggers make nothing; volatility3's layer for ELF files goes by them alone.
    return SEGMENT.pack(PT_LOAD, flags, place, region.start, region.start, held, size, PAGE_BYTES)


def _paged(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
