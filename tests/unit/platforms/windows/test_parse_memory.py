"""Regions, exports, registers and changes from numbers and bytes. Pure, so on every system."""

import struct
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.memory import Region
from hostscope.platforms.windows.parse_changes import ThreadFacts, memory_changes, thread_changes
from hostscope.platforms.windows.parse_context import FORMS, REGISTERS, TRAP_FLAG, register, with_register, with_trap
from hostscope.platforms.windows.parse_exports import parse_exports
from hostscope.platforms.windows.parse_memory import Pages, by_drive, permissions, region_of, runs, served_by

COMMIT, RESERVE = 0x1000, 0x2000
PRIVATE, MAPPED, IMAGE = 0x20000, 0x40000, 0x1000000


def test_a_guard_page() -> None:
    found = region_of(Pages(0x1000, 0x1000, 4, 0x1000, COMMIT, 0x104, PRIVATE), None, None)
    assert (found.guard, found.permissions, found.kind, found.state) == (True, "rw-p", "private", "committed")
    assert found.allocation == 0x1000 and found.initial == "rw-p"


def test_reserved_addresses_have_no_permissions() -> None:
    found = region_of(Pages(0x1000, 0x1000, 4, 0x1000, RESERVE, 0, PRIVATE), None, None)
    assert (found.state, found.permissions, found.guard, found.flags) == ("reserved", "---p", False, ())


@pytest.mark.parametrize(
    ("protection", "kind", "text"),
    [
        (0x01, PRIVATE, "---p"), (0x02, MAPPED, "r--s"), (0x04, MAPPED, "rw-s"), (0x08, MAPPED, "rw-p"),
        (0x10, IMAGE, "--xp"), (0x20, IMAGE, "r-xp"), (0x40, PRIVATE, "rwxp"), (0x80, IMAGE, "rwxp"), (0x00, 0, "---p"),
    ],
)  # fmt: skip
def test_permissions(protection: int, kind: int, text: str) -> None:
    assert permissions(protection, kind) == text


def test_files_by_drive_and_from_servers() -> None:
    drives = {"\\Device\\HarddiskVolume3": "C:", "\\Device\\HarddiskVolume31": "D:"}
    assert by_drive("\\Device\\HarddiskVolume31\\x.dll", drives) == "D:\\x.dll"
    assert by_drive("\\Device\\HarddiskVolume9\\x.dll", drives) == "\\Device\\HarddiskVolume9\\x.dll"
    assert by_drive("\\??\\Z:\\x.dll", drives) == "Z:\\x.dll"
    assert served_by("\\Device\\Mup\\server\\share\\x.dll") == "network"
    assert served_by("\\Device\\HarddiskVolume3\\x.dll") is None and served_by(None) is None


@given(st.lists(st.booleans(), max_size=50), st.integers(0, 1 << 40))
def test_runs_hold_exactly_what_is_marked(valid: list[bool], start: int) -> None:
    found = runs(valid, start, 4096)
    held = {page for first, last in found for page in range(first, last, 4096)}
    assert held == {start + index * 4096 for index, holds in enumerate(valid) if holds}
    assert all(one[1] < other[0] for one, other in pairwise(found))


# Registers ----------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(REGISTERS)), st.integers(0, (1 << 64) - 1))
def test_a_register_there_and_back(name: str, value: int) -> None:
    context = bytes(FORMS["amd64"].size)
    changed = with_register(context, name, value)
    assert register(changed, name) == value and len(changed) == len(context)
    assert [other for other in REGISTERS if register(changed, other)] == ([name] if value else [])


def test_the_trap_flag_alone_changes() -> None:
    context = bytes(range(256)) * 5
    trapped = with_trap(context[:1232], True)
    assert struct.unpack_from("<I", trapped, 0x44)[0] & TRAP_FLAG
    assert with_trap(trapped, False) == with_trap(context[:1232], False)


# Exports ----------------------------------------------------------------------------------------------------


def library(names: list[str], forwarded: frozenset[str] = frozenset()) -> bytes:
    """A PE32+ library as it lies in memory, with functions at 0x100, 0x200…; forwarded ones point into the table."""
    raw = bytearray(0x4000)
    raw[:2] = b"MZ"
    struct.pack_into("<I", raw, 0x3C, 0x80)
    raw[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<H", raw, 0x98, 0x20B)
    struct.pack_into("<I", raw, 0x98 + 56, 0x4000)
    struct.pack_into("<II", raw, 0x98 + 112, 0x1000, 0x2000)
    count = len(names)
    struct.pack_into("<IIHHI IIIIII", raw, 0x1000, 0, 0, 0, 0, 0x2800, 1, count, count, 0x1100, 0x1400, 0x1700)
    raw[0x2800:0x280A] = b"ntdll.dll\0"
    for index, name in enumerate(names):
        struct.pack_into("<I", raw, 0x1100 + 4 * index, 0x1F00 if name in forwarded else 0x100 * (index + 1))
        struct.pack_into("<I", raw, 0x1400 + 4 * index, 0x2000 + 32 * index)
        struct.pack_into("<H", raw, 0x1700 + 2 * index, index)
        raw[0x2000 + 32 * index : 0x2000 + 32 * index + len(name)] = name.encode()
    return bytes(raw)


def test_functions_by_name_but_for_those_of_others() -> None:
    raw = library(["NtClose", "NtOpen", "VirtualAlloc"], frozenset({"VirtualAlloc"}))
    base = 0x1_8000_0000
    found = parse_exports(
        lambda at, size: raw[at - base : at - base + size], base, frozenset({"NtOpen", "VirtualAlloc"})
    )
    assert found is not None
    assert (found.name, found.size_bytes, found.addresses) == ("ntdll.dll", 0x4000, {"NtOpen": base + 0x200})


def test_libraries_of_32_bit_programs_say_so() -> None:
    """They lie beside 64-bit ones in the same process; a breakpoint of ours must not stand in them."""
    raw = bytearray(library(["NtOpen"]))
    assert (found := parse_exports(lambda at, size: bytes(raw[at : at + size]), 0, frozenset())) and found.is_64_bit
    struct.pack_into("<H", raw, 0x98, 0x10B)
    struct.pack_into("<II", raw, 0x98 + 96, 0x1000, 0x2000)
    narrow = parse_exports(lambda at, size: bytes(raw[at : at + size]), 0, frozenset({"NtOpen"}))
    assert narrow and not narrow.is_64_bit and narrow.addresses == {"NtOpen": 0x100}


def test_names_all_over_memory_end_the_search() -> None:
    """A program of our target's: each of its names would have us read another 64 KiB of it."""
    raw, taken = bytearray(1 << 20), 0
    raw[:0x4000] = library([])
    struct.pack_into("<IIHHI IIIIII", raw, 0x1000, 0, 0, 0, 0, 0x2800, 1, 1 << 16, 1 << 16, 0x4000, 0x4000, 0x4000)
    for index in range(1 << 16):
        struct.pack_into("<I", raw, 0x4000 + 4 * index, 0x50000 if index % 2 else 0x90000)

    def read(at: int, size: int) -> bytes:
        nonlocal taken
        found = bytes(raw[at : at + size])
        taken += len(found)
        return found

    assert parse_exports(read, 0, frozenset({"NtOpen"})) is not None
    assert taken < 32 << 20


@given(st.binary(max_size=800), st.integers(0, 0x3FFF))
def test_any_library_has_exports_or_not(damage: bytes, at: int) -> None:
    raw = bytearray(library(["NtClose", "NtOpen"]))
    raw[at : at + len(damage)] = damage
    found = parse_exports(lambda start, size: bytes(raw[start : start + size]), 0, frozenset({"NtOpen"}))
    assert found is None or set(found.addresses) <= {"NtOpen"}


# Changes ----------------------------------------------------------------------------------------------------


def region(start: int, end: int, allowed: str, kind: str = "private", path: str | None = None) -> Region:
    return Region(start, end, allowed, 0, "", 0, path, kind=kind, state="committed")


def test_what_becomes_executable_after_it_could_be_written() -> None:
    before = [region(0x1000, 0x4000, "rw-p")]
    after = [region(0x1000, 0x2000, "r-xp"), region(0x2000, 0x4000, "rw-p")]
    (change,) = memory_changes("app", before, after)
    assert (change.what, change.before, change.after, change.start, change.end) == (
        "protected", "rw-p", "r-xp", 0x1000, 0x2000,
    )  # fmt: skip
    assert change.flags == ("w-to-x", "executable-anonymous")


def test_what_comes_and_goes() -> None:
    image = region(0x9000, 0xA000, "r-xp", "image", "C:\\a.dll")
    found = list(memory_changes("app", [region(0x1000, 0x2000, "rw-p")], [image, region(0x5000, 0x6000, "rwxp")]))
    assert [(change.what, change.start, change.flags) for change in found] == [
        ("unmapped", 0x1000, ()),
        ("mapped", 0x5000, ("executable-anonymous", "writable-executable")),
        ("mapped", 0x9000, ()),
    ]


SPANS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 5), st.sampled_from(["rw-p", "r-xp", "rwxp"])), max_size=12
)


@given(SPANS, SPANS)
def test_equal_looks_have_no_changes(first: list[tuple[int, int, str]], second: list[tuple[int, int, str]]) -> None:
    one, other = ([region(at, at + size, letters) for at, size, letters in spans] for spans in (first, second))
    assert not list(memory_changes("app", one, one))
    assert all(change.what in ("mapped", "unmapped", "protected") for change in memory_changes("app", one, other))


def test_threads_that_begin_outside_of_every_library() -> None:
    regions = [region(0x1000, 0x2000, "r-xp", "image", "C:\\a.dll"), region(0x5000, 0x6000, "rwxp")]
    before = {1: ThreadFacts(10, 0x1100), 2: ThreadFacts(10, 0x1200)}
    after = {
        1: ThreadFacts(10, 0x1100),
        2: ThreadFacts(11, 0x1300),
        3: ThreadFacts(12, 0x5100),
        4: ThreadFacts(13, None),
    }
    found = [(one.tid, one.started, one.module, one.flags) for one in thread_changes("app", before, after, regions)]
    assert found == [
        (2, False, None, ()),
        (2, True, "C:\\a.dll", ()),
        (3, True, None, ("start-outside-modules",)),
        (4, True, None, ()),
    ]


def test_what_melts_into_its_neighbour_is_told() -> None:
    """Windows tells neighbours of one allocation with the same permissions as one region."""
    before = [region(0x1000, 0x2000, "rwxp"), region(0x2000, 0x3000, "rw-p")]
    (change,) = memory_changes("x", before, [region(0x1000, 0x3000, "rwxp")])
    assert (change.what, change.start, change.end, change.before) == ("protected", 0x2000, 0x3000, "rw-p")
    assert "w-to-x" in change.flags
    grown = list(memory_changes("x", [region(0x1000, 0x2000, "rwxp")], [region(0x1000, 0x4000, "rwxp")]))
    assert [(each.what, each.start, each.end) for each in grown] == [("mapped", 0x2000, 0x4000)]
    shrunk = list(memory_changes("x", [region(0x1000, 0x4000, "rwxp")], [region(0x2000, 0x3000, "rwxp")]))
    assert [(each.what, each.start, each.end) for each in shrunk] == [
        ("unmapped", 0x1000, 0x2000), ("unmapped", 0x3000, 0x4000),
    ]  # fmt: skip


def test_many_regions_that_go_away_take_no_time() -> None:
    """Of a process that wants us to be busy."""
    before = [region(0x2000 * index, 0x2000 * index + 0x1000, "rw-p") for index in range(40_000)]
    began = time.process_time()
    assert len(list(memory_changes("x", before, before[::2]))) == 20_000
    assert time.process_time() - began < 5


def test_what_takes_the_place_of_a_library_is_told() -> None:
    """A program that was unmapped and replaced, with the same permissions at the same addresses."""
    image, private = region(0x1000, 0x2000, "r-xp", "image", "C:\\a.dll"), region(0x1000, 0x2000, "r-xp")
    found = list(memory_changes("x", [image], [private]))
    assert [(each.what, each.kind) for each in found] == [("unmapped", "image"), ("mapped", "private")]
    assert "executable-anonymous" in found[1].flags
