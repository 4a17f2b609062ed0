"""ELF headers and notes: round trips, bounds, and anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.binaries.elf import (
    ET_CORE,
    HEADER,
    MAGIC,
    PN_XNUM,
    SECTION,
    SEGMENT,
    build_id,
    build_note,
    parse_elf,
    parse_notes,
)


def reader(raw: bytes):  # type: ignore[no-untyped-def]
    return lambda offset, size: raw[max(offset, 0) : max(offset, 0) + max(size, 0)]


def header(count: int, sections_at: int = 0, size: int = SEGMENT.size) -> bytes:
    return HEADER.pack(
        MAGIC, 2, 1, 1, 0, 0, ET_CORE, 62, 1, 7, HEADER.size, sections_at, 0, HEADER.size, size, count, 0, 0, 0
    )


@given(st.binary(max_size=600))
def test_any_bytes_are_an_elf_file_or_a_value_error(raw: bytes) -> None:
    try:
        parse_elf(reader(raw))
    except ValueError as failed:
        assert str(failed)


@given(st.binary(max_size=300), st.integers(0, 0xFFFF), st.integers(0, 1 << 63))
def test_any_header_is_bounded(rest: bytes, count: int, sections_at: int) -> None:
    try:
        found = parse_elf(reader(header(count, sections_at) + rest))
    except ValueError:
        return
    assert len(found.segments) * SEGMENT.size <= HEADER.size + len(rest)


def test_segments_are_read() -> None:
    raw = header(2) + SEGMENT.pack(1, 5, 4096, 0x1000, 0, 10, 20, 4096) + SEGMENT.pack(4, 0, 9, 0, 0, 8, 0, 4)
    elf = parse_elf(reader(raw))
    assert (elf.architecture, elf.entry, [one.address for one in elf.segments]) == ("x86_64", 7, [0x1000, 0])
    assert (elf.segments[0].file_bytes, elf.segments[0].memory_bytes, elf.segments[0].flags) == (10, 20, 5)


def test_more_segments_than_the_header_can_count() -> None:
    count = PN_XNUM + 3
    table = SEGMENT.pack(1, 4, 0, 0x1000, 0, 0, 4096, 4096) * count
    section = SECTION.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0)
    raw = header(PN_XNUM, HEADER.size + len(table)) + table + section
    assert len(parse_elf(reader(raw)).segments) == count
    with pytest.raises(ValueError, match="counts segments"):
        parse_elf(reader(raw[:-1]))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x7fELF", "not an ELF"),
        (b"MZ" + bytes(100), "not an ELF"),
        (MAGIC + b"\1\1" + bytes(100), "64 bits"),
        (header(1), "cut short"),
        (header(1, size=32) + bytes(100), "implausible"),
    ],
)
def test_what_is_wrong_is_said(raw: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_elf(reader(raw))


@given(st.lists(st.tuples(st.binary(max_size=9).filter(lambda o: not o.endswith(b"\0")), st.integers(0, 1 << 31),
                          st.binary(max_size=40))))  # fmt: skip
def test_notes_come_back(notes: list[tuple[bytes, int, bytes]]) -> None:
    raw = b"".join(build_note(*note) for note in notes)
    assert [(note.owner, note.type, note.data) for note in parse_notes(raw)] == notes


@given(st.binary(max_size=400))
def test_any_bytes_are_some_notes(raw: bytes) -> None:
    assert sum(12 + len(note.data) for note in parse_notes(raw)) <= len(raw)


def test_the_build_id() -> None:
    note = build_note(b"GNU", 3, bytes(range(20)))
    raw = header(1) + SEGMENT.pack(4, 4, HEADER.size + SEGMENT.size, 0, 0, len(note), 0, 4) + note
    assert build_id(parse_elf(reader(raw)), reader(raw)) == bytes(range(20)).hex()
