"""Dumps are foreign bytes: whatever they hold, reading them ends, in an answer or a `UsageError`."""

import os
import struct
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.binaries.elf import ET_CORE, HEADER, MAGIC, SEGMENT, build_note
from hostscope.collectors.analysis import AnalysisRequest, analyze
from hostscope.dumps.core_file import Held, _bounded, open_core, parse_files
from hostscope.dumps.manifest import parse_manifest
from hostscope.dumps.positional import data_range
from hostscope.errors import UsageError
from hostscope.model.memory import Region

WORD = st.one_of(st.integers(0, 1 << 20), st.integers(0, (1 << 64) - 1))
SEGMENTS = st.lists(
    st.tuples(st.sampled_from([1, 1, 4, 2]), st.integers(0, 7), WORD, WORD, st.just(0), WORD, WORD, st.just(4096)),
    max_size=6,
)
NOTES = st.lists(
    st.tuples(st.just(b"CORE"), st.sampled_from([1, 3, 6, 0x46494C45]), st.binary(max_size=400)), max_size=5
)


def core_of(segments: list[tuple[int, ...]], notes: list[tuple[bytes, int, bytes]], rest: bytes) -> bytes:
    raw = b"".join(build_note(*note) for note in notes)
    count = len(segments) + 1
    at = HEADER.size + SEGMENT.size * count
    head = HEADER.pack(MAGIC, 2, 1, 1, 0, 0, ET_CORE, 62, 1, 0, 64, 0, 0, 64, SEGMENT.size, count, 0, 0, 0)
    table = SEGMENT.pack(4, 0, at, 0, 0, len(raw), 0, 4) + b"".join(SEGMENT.pack(*one) for one in segments)
    return head + table + raw + rest


@given(SEGMENTS, NOTES, st.binary(max_size=2000))
def test_any_core_is_analysed_or_refused(
    segments: list[tuple[int, ...]], notes: list[tuple[bytes, int, bytes]], rest: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "core")
        path.write_bytes(core_of(segments, notes, rest))
        try:
            found = analyze(str(path), AnalysisRequest())
        except UsageError:
            return
        assert all(one.start < one.end for one in found.regions)
        msgspec.json.encode(found)


@given(st.binary(max_size=300))
def test_any_file_is_a_dump_or_not(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "core")
        path.write_bytes(raw)
        with pytest.raises(UsageError), open_core(str(path)):
            pass


@given(st.binary(max_size=400))
def test_any_manifest_is_one_or_not(raw: bytes) -> None:
    for inside in (raw, b'{"schema": "\xff"}', b'{"schema": "hostscope.dump_manifest/1", "name": "' + raw + b'"}'):
        with pytest.raises(UsageError):
            parse_manifest(inside)


@given(st.binary(max_size=200))
def test_any_list_of_files(raw: bytes) -> None:
    assert len(parse_files(raw)) <= len(raw) // 24


def test_notes_that_segments_share_are_read_once(tmp_path: Path) -> None:
    notes = [(b"CORE", 6, b"auxv"), (b"CORE", 6, b"more"), (b"LINUX", 0x202, b"state")]
    raw = core_of([], notes, b"")
    count, at = 1000, HEADER.size + SEGMENT.size
    shift = SEGMENT.size * count
    head = HEADER.pack(MAGIC, 2, 1, 1, 0, 0, ET_CORE, 62, 1, 0, 64, 0, 0, 64, SEGMENT.size, count + 1, 0, 0, 0)
    again = SEGMENT.pack(4, 0, at + shift, 0, 0, len(raw) - at, 0, 4) * (count + 1)
    (tmp_path / "core").write_bytes(head + again + raw[at:])
    with open_core(str(tmp_path / "core")) as core:
        assert [note.data for note in core.notes] == [b"auxv", b"more"]


@pytest.mark.posix("pipes")
@pytest.mark.parametrize("which", ["core", "core.json"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, which: str) -> None:
    (tmp_path / "core").write_bytes(core_of([], [], b""))
    (tmp_path / which).unlink(missing_ok=True)
    os.mkfifo(tmp_path / which)
    with pytest.raises(UsageError, match=f"{which} is no regular file"), open_core(str(tmp_path / "core")):
        pass


def test_holes_of_a_file_that_is_mapped_are_not_its_bytes(tmp_path: Path) -> None:
    files = struct.pack("<5Q", 1, 4096, 1 << 32, (1 << 32) + (1 << 20), 0) + b"/bin/x\0"
    at = 1 << 20
    segments = [(1, 5, at, 1 << 32, 0, 1 << 20, 1 << 20, 4096)]
    raw = core_of(segments, [(b"CORE", 0x46494C45, files)], b"")
    with open(tmp_path / "core", "wb") as file:
        file.write(raw)
        file.seek(at + (1 << 19))
        file.write(b"x" * (1 << 19))
    with open_core(str(tmp_path / "core")) as core:
        assert core.read(1 << 32, 4) == bytes(4)
        if data_range(core._fd, at, at + (1 << 20)) != (at, at + (1 << 20)):  # a file system with holes
            assert core.read_present(1 << 32, 4) == b""
        assert core.read_present((1 << 32) + (1 << 19), 4) == b"xxxx"
        assert core.read_present(7, 4) == core.read(7, 4) == b""


def test_a_program_is_no_dump() -> None:
    with pytest.raises(UsageError, match="a program"), open_core("/bin/sh"):
        pass
    with pytest.raises(UsageError, match="directory"), open_core("/"):
        pass
    with pytest.raises(UsageError, match="cannot read"), open_core("/nowhere/core"):
        pass


def test_no_byte_of_a_file_is_held_twice(tmp_path: Path) -> None:
    rest, count = bytes(4096), 1000
    at = HEADER.size + SEGMENT.size * (count + 1)
    segments = [(1, 6, at, number << 32, 0, len(rest), len(rest), 4096) for number in range(1, count + 1)]
    (tmp_path / "core").write_bytes(core_of(segments, [], rest))
    with open_core(str(tmp_path / "core")) as core:
        assert [one.file_bytes for one in core.held] == [len(rest)] + [0] * (count - 1)


def test_what_the_file_should_have_behind_its_end_is_counted(tmp_path: Path) -> None:
    rest, at = bytes(4096), HEADER.size + SEGMENT.size * 3
    segments = [(1, 6, at, 1 << 32, 0, 1000, 4096, 4096), (1, 6, at + 4000, 2 << 32, 0, 100, 4096, 4096)]
    for size, lost in ((at + 4096, 4), (at + 4100, 0), (at + 500, 600)):
        (tmp_path / "core").write_bytes(core_of(segments, [], rest + bytes(4))[:size])
        with open_core(str(tmp_path / "core")) as core:
            assert core.cut_bytes == lost


def test_ranges_end_where_the_file_does() -> None:
    one = Held(Region(4096, 1 << 60, "rw-p", 0, "", 0, None, False), 100, 1 << 59, ((4096, 8192), (1 << 50, 1 << 60)))
    (bounded,) = _bounded((one,), 100 + 4096)
    assert (bounded.file_bytes, bounded.ranges) == (4096, ((4096, 8192),))
    (half,) = _bounded((one,), 100 + 10)
    assert (half.file_bytes, half.ranges) == (10, ((4096, 4106),))
