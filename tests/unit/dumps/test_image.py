"""Memory into files and back: holes, unreadable pages, limits, full disks, processes that end."""

import errno
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hostscope.dumps import image, output
from hostscope.dumps.core_file import open_core
from hostscope.dumps.core_notes import CoreProcess, build_notes
from hostscope.dumps.image import Written, write_plain, write_zstd
from hostscope.dumps.layout import core_layout, raw_layout
from hostscope.dumps.manifest import dumped_regions
from hostscope.dumps.output import NewFile, check_free, new_file
from hostscope.dumps.pieces import MOST_GATHERED, PIECE_BYTES, Budget, PiecePlan, batch, cut, gathered
from hostscope.dumps.reading import open_crew
from hostscope.dumps.selection import Chosen
from hostscope.errors import Gone, Unavailable, UsageError
from hostscope.model.gap import Reason
from hostscope.model.memory import Region, ThreadState
from tests.privacy import is_private
from tests.unit.dumps.spaces import PAGE, FakeSpace, region

PROCESS = CoreProcess(42, 1, 42, 42, 0, 0, "prog", "sleeping", 0, ("prog", "--x"), "x86_64", bytes(16))
THREADS = (ThreadState(42, "prog", bytes(216), bytes(512), signal_info=bytes(128)), ThreadState(43, "w", bytes(216)))
REGIONS = (region(16, 4, "r-xp", "/bin/prog", 7), region(32, 8), region(64, 2, "rw-s"))


def page(number: int) -> bytes:
    return bytes([number % 251 + 1]) * PAGE


def space(**more: Any) -> FakeSpace:
    numbers = [n for r in REGIONS for n in range(r.start // PAGE, r.end // PAGE)]
    return FakeSpace({n: page(n) for n in numbers}, **more)


def plans(held: FakeSpace, regions: tuple[Region, ...] = REGIONS) -> list[PiecePlan]:
    return [p for i, r in enumerate(regions) for p in cut(i, r.start, r.end, held.resident(r))]


def write(path: Path, held: FakeSpace, packed: bool = False, regions: tuple[Region, ...] = REGIONS) -> Written:
    layout = core_layout(regions, [True] * len(regions), build_notes(PROCESS, THREADS, regions), "x86_64")
    starts = [one.start for one in regions]
    with open_crew(2, None, True) as crew, new_file(str(path)) as file:
        if packed:
            written = write_zstd(file, layout, starts, plans(held, regions), held, crew, 2)
            file.finish()
        else:
            written = write_plain(file, layout, starts, plans(held, regions), held, crew)
            file.finish(layout.size_bytes)
    return written


def test_a_core_holds_what_was_read(tmp_path: Path) -> None:
    held = space(untouched={33, 34})
    written = write(tmp_path / "core", held)
    assert written.failure is None
    assert is_private(tmp_path / "core")
    with open_core(str(tmp_path / "core")) as core:
        assert [(one.start, one.end, one.permissions) for one in core.regions] == [
            (one.start, one.end, one.permissions[:3] + "p") for one in REGIONS
        ]
        assert core.regions[0].path == "/bin/prog"
        assert core.read(32 * PAGE, 3 * PAGE) == page(32) + bytes(2 * PAGE)
        assert core.read(39 * PAGE, 9 * PAGE) == page(39)
        assert core.read(1000 * PAGE, 10) == b""
        assert [thread.tid for thread in core.threads()] == [42, 43]
        assert core.process() == (42, "prog", "prog --x")


def test_zstd_frames_hold_the_same_file(tmp_path: Path) -> None:
    held = space(untouched={33, 34})
    write(tmp_path / "core", held)
    written = write(tmp_path / "core.zst", held, packed=True)
    with open(tmp_path / "core.zst", "rb") as file:
        plain = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    assert plain == (tmp_path / "core").read_bytes()
    assert written.size_bytes == (tmp_path / "core.zst").stat().st_size
    with open_core(str(tmp_path / "core.zst")) as core:
        assert core.read(32 * PAGE, PAGE) == page(32)


def test_long_holes_are_frames_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "LONG_HOLE_BYTES", 2 << 20)
    wide = (region(16, 2000),)
    held = FakeSpace({16: page(16), 1500: page(50), 2015: page(51)}, set(range(17, 1500)) | set(range(1501, 2015)))
    write(tmp_path / "core", held, regions=wide)
    write(tmp_path / "core.zst", held, packed=True, regions=wide)
    with open(tmp_path / "core.zst", "rb") as file:
        plain = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    assert plain == (tmp_path / "core").read_bytes()
    with open_core(str(tmp_path / "core.zst")) as core:
        assert core.read(1499 * PAGE, 2 * PAGE) == bytes(PAGE) + page(50)


def test_pages_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    held = space()
    del held.pages[33], held.pages[34], held.pages[37]
    written = write(tmp_path / "core", held)
    chosen = [Chosen(one, True) for one in REGIONS]
    layout = core_layout(REGIONS, [True] * 3, b"", "x86_64")
    found = dumped_regions(chosen, layout, written.pieces, {}, None)[1]
    assert [(one.start // PAGE, one.end // PAGE) for one in found.unread] == [(33, 35), (37, 38)]
    assert (found.read_bytes, found.untouched_bytes) == (5 * PAGE, 0)
    assert found.pieces[0].ranges == ((32 * PAGE, 33 * PAGE), (35 * PAGE, 37 * PAGE), (38 * PAGE, 40 * PAGE))


@pytest.mark.parametrize("packed", [False, True])
def test_a_process_that_ends_midway(tmp_path: Path, packed: bool) -> None:
    written = write(tmp_path / "core", space(ends_after=1), packed)
    assert isinstance(written.failure, Gone)
    chosen = [Chosen(one, True) for one in REGIONS]
    layout = raw_layout(REGIONS, [True] * 3)
    found = dumped_regions(chosen, layout, written.pieces, {}, (Reason.GONE, "it ended"))
    missing = sum(unread.end - unread.start for one in found for unread in one.unread)
    assert missing + sum(one.read_bytes for one in found) == sum(one.size_bytes for one in REGIONS)
    assert missing >= sum(one.size_bytes for one in REGIONS[1:])
    assert {unread.reason for one in found for unread in one.unread} == {Reason.GONE}


@pytest.mark.parametrize("packed", [False, True])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    def full(self: NewFile, content: Any, offset: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(NewFile, "write_at", full)
    written = write(tmp_path / "core", space(), packed)
    assert isinstance(written.failure, Unavailable) and "No space left" in str(written.failure)


def test_room_is_found_for_what_is_written_in_one_piece(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def reserve(offset: int, size: int) -> bool:
        asked.append((offset, size))
        return True

    pages = output.RESERVED_BYTES // PAGE
    one, little = region(pages, pages), region(4 * pages, pages - 1)
    held = FakeSpace({n: page(n) for r in (one, little) for n in range(r.start // PAGE, r.end // PAGE)})
    layout = raw_layout((one, little), [True, True])
    with open_crew(2, None, False) as crew, new_file(str(tmp_path / "core"), reserving=lambda _: reserve) as file:
        written = write_plain(file, layout, [one.start, little.start], plans(held, (one, little)), held, crew)
    assert asked == [(layout.offsets[0], one.size_bytes)]
    assert written.failure is None


def test_room_is_not_asked_for_again_where_it_is_of_no_use(tmp_path: Path) -> None:
    asked: list[int] = []
    with new_file(str(tmp_path / "core"), reserving=lambda _: lambda offset, size: bool(asked.append(offset))) as file:
        file.reserve(0, output.RESERVED_BYTES)
        file.reserve(output.RESERVED_BYTES, output.RESERVED_BYTES)
    assert asked == [0]


def test_nothing_is_left_of_a_file_that_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyError), new_file(str(tmp_path / "core")) as file:
        file.write_at(b"part", 0)
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "core").symlink_to(tmp_path / "theirs")
    with new_file(str(tmp_path / "core")) as file:
        file.write_at(b"ours", 0)
        file.finish()
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "core").read_bytes() == b"ours" and not (tmp_path / "core").is_symlink()


@pytest.mark.posix("pipes with a name in a folder")
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, linked: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        check_free(str(tmp_path / ("link" if linked else "pipe")), force=True)


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("force", [True, False])
def test_what_appears_meanwhile_is_not_replaced_without_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool, force: bool
) -> None:
    if not nameless:
        monkeypatch.setattr(output, "NAMELESS", 0)
    with suppress(UsageError), new_file(str(tmp_path / "core"), replace=force) as file:
        file.write_at(b"ours", 0)
        (tmp_path / "core").write_bytes(b"theirs")
        file.finish()
        assert force
    assert (tmp_path / "core").read_bytes() == (b"ours" if force else b"theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["core"]


RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5000)), max_size=12)


@given(RANGES, st.integers(0, 3))
def test_pieces_cover_a_region_without_gaps_and_hold_every_run(rows: list[tuple[int, int]], tail: int) -> None:
    runs, at = [], 0
    for gap, size in rows:
        runs.append((at + gap * PAGE, at + (gap + size) * PAGE))
        at = runs[-1][1]
    end = at + tail * PAGE
    pieces = list(cut(0, 0, end, runs))
    edges = [edge for piece in pieces for edge in (piece.start, piece.end)]
    assert edges[1:-1:2] == edges[2::2] and edges[:1] + edges[-1:] == ([0, end] if end else [])
    assert all(piece.size_bytes <= PIECE_BYTES for piece in pieces)
    assert all(piece.start <= a < b <= piece.end for piece in pieces for a, b in piece.runs)
    assert sum(piece.size_bytes for piece in pieces) == sum(b - a for a, b in runs)
    assert [piece for group in batch(pieces) for piece in group] == pieces


def test_limits_cut_off_and_say_so() -> None:
    budget = Budget(10 * PAGE, 6 * PAGE)
    runs, beyond = budget.take(0, 100 * PAGE, [(0, 4 * PAGE), (8 * PAGE, 20 * PAGE)])
    assert runs == [(0, 4 * PAGE), (8 * PAGE, 10 * PAGE)]
    assert [(one.start, one.end, one.reason) for one in beyond] == [(10 * PAGE, 100 * PAGE, Reason.TRUNCATED)]
    runs, beyond = budget.take(200 * PAGE, 300 * PAGE, [(200 * PAGE, 300 * PAGE)])
    assert runs == [(200 * PAGE, 204 * PAGE)]
    assert "--max-bytes" in str(beyond[0].detail)


def test_more_regions_than_a_header_can_count(tmp_path: Path) -> None:
    regions = tuple(region(16 + 2 * number, 1) for number in range(66_000))
    layout = core_layout(regions, [False] * 65_999 + [True], b"", "x86_64")
    path = tmp_path / "core"
    path.write_bytes(layout.head)
    os.truncate(path, layout.size_bytes)
    with open_core(str(path)) as core:
        assert len(core.regions) == 66_000
        assert len(core.read(regions[-1].start, PAGE)) == PAGE
        assert core.read(regions[0].start, PAGE) == b""


SCATTERED = (region(0, 64),)
"""Every second page of it was never touched."""
HOLES = set(range(1, 64, 2))


@pytest.mark.parametrize("packed", [False, True])
def test_many_short_runs_are_read_in_one_call_and_stand_where_they_belong(tmp_path: Path, packed: bool) -> None:
    held = FakeSpace({n: page(n) for n in range(64) if n not in HOLES}, HOLES)
    written = write(tmp_path / "core", held, packed, SCATTERED)
    assert held.gathers == 1
    (piece,) = written.pieces
    assert piece.piece.ranges == tuple((n * PAGE, (n + 1) * PAGE) for n in range(0, 64, 2))
    assert piece.piece.sha256 == sha256(b"".join(page(n) for n in range(0, 64, 2))).hexdigest()
    with open_core(str(tmp_path / "core")) as core:
        expected = [bytes(PAGE) if n in HOLES else page(n) for n in range(64)]
        assert core.read(0, 64 * PAGE) == b"".join(expected)


def test_a_page_that_cannot_be_read_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    held = FakeSpace({n: page(n) for n in range(64) if n not in HOLES | {20}}, HOLES)
    (piece,) = write(tmp_path / "core", held, regions=SCATTERED).pieces
    assert [(one.start, one.end) for one in piece.unread] == [(20 * PAGE, 21 * PAGE)]
    assert piece.piece.read_bytes == 31 * PAGE
    with open_core(str(tmp_path / "core")) as core:
        assert core.read(18 * PAGE, PAGE) == page(18)
        assert core.read(22 * PAGE, PAGE) == page(22)


@given(st.lists(st.integers(1, 9), max_size=600), st.integers(1, 20))
def test_gathered_runs_are_all_runs_in_groups_that_fit(lengths: list[int], most: int) -> None:
    runs, at = [], 0
    for length in lengths:
        runs.append((at, at + length))
        at += length + 1
    groups = list(gathered(runs, most))
    assert [run for group in groups for run in group] == runs
    assert all(len(group) <= MOST_GATHERED for group in groups)
    assert all(len(group) == 1 or sum(end - start for start, end in group) <= most for group in groups)
