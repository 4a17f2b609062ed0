"""The digest cache: what it keeps, and what it refuses."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Untrusted
from hostscope.platforms.linux.digest_cache import (
    HEADER,
    MAX_BYTES,
    DigestCache,
    FileStamp,
    format_line,
    parse_lines,
)

STAMP = FileStamp(1, 2, 3, 4, 5)
OTHER = FileStamp(9, 2, 3, 4, 5)
SHA = "ab" * 32


@pytest.fixture(autouse=True)
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Events that were logged as warnings."""
    events: list[str] = []
    monkeypatch.setattr("hostscope.log.warning", lambda event, **_: events.append(event))
    return events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "hostscope"


def stored(folder: Path) -> Path:
    """A cache with one digest; its file."""
    DigestCache(str(folder)).put(STAMP, "sha256", SHA)
    return folder / "digests"


def test_digests_last(folder: Path) -> None:
    path = stored(folder)
    DigestCache(str(folder)).put(STAMP, "md5", "cd")
    again = DigestCache(str(folder))
    assert (again.get(STAMP, "sha256"), again.get(STAMP, "md5"), again.refused) == (SHA, "cd", None)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("field", ["device", "inode", "size_bytes", "mtime_ns", "ctime_ns"])
def test_any_change_is_another_file(folder: Path, field: str) -> None:
    stored(folder)
    values = {name: getattr(STAMP, name) for name in FileStamp.__struct_fields__} | {field: 99}
    assert DigestCache(str(folder)).get(FileStamp(**values), "sha256") is None


def test_nothing_is_written_by_looking(folder: Path) -> None:
    assert DigestCache(str(folder)).get(STAMP, "sha256") is None
    assert not folder.exists()


def test_memory_only() -> None:
    cache = DigestCache(None)
    cache.put(STAMP, "sha256", SHA)
    assert cache.get(STAMP, "sha256") == SHA


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize("position", [0, len(HEADER), len(HEADER) + 30, -1, -2])
def test_changed_file_is_refused_and_begun_anew(folder: Path, position: int, warnings: list[str]) -> None:
    path = stored(folder)
    flip(path, position)
    cache = DigestCache(str(folder))
    assert cache.get(STAMP, "sha256") is None
    assert cache.refused is not None
    assert warnings == ["digest_cache_refused"]
    assert not path.exists()
    cache.put(STAMP, "sha256", SHA)
    assert DigestCache(str(folder)).get(STAMP, "sha256") == SHA


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o660])
def test_file_that_others_can_read_or_write_is_refused(folder: Path, mode: int) -> None:
    stored(folder).chmod(mode)
    cache = DigestCache(str(folder))
    assert cache.get(STAMP, "sha256") is None
    assert cache.refused is not None


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_folder_that_is_open_to_others_is_not_used(folder: Path, mode: int) -> None:
    path = stored(folder)
    folder.chmod(mode)
    cache = DigestCache(str(folder))
    assert cache.get(STAMP, "sha256") is None
    cache.put(STAMP, "md5", "cd")
    assert b"md5" not in path.read_bytes(), "nor written to"
    assert cache.get(STAMP, "md5") == "cd", "but remembered"


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    path = stored(folder)
    moved = tmp_path / "elsewhere"
    path.rename(moved)
    path.symlink_to(moved)
    assert DigestCache(str(folder)).get(STAMP, "sha256") is None
    assert moved.exists()
    os.link(moved, path) if not path.exists() else pytest.fail("the link is still there")
    assert DigestCache(str(folder)).get(STAMP, "sha256") is None, "a second name"
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    assert DigestCache(str(linked)).refused is None
    cache = DigestCache(str(linked))
    cache.get(STAMP, "sha256")
    assert cache.refused is not None


@pytest.mark.root
def test_files_of_another_user_are_refused(folder: Path) -> None:
    path = stored(folder)
    os.chown(path, 65534, -1)
    cache = DigestCache(str(folder))
    assert cache.get(STAMP, "sha256") is None
    assert "65534" in (cache.refused or "")
    stored(folder)
    os.chown(folder, 65534, -1)
    assert DigestCache(str(folder)).get(STAMP, "sha256") is None


def test_fifo_is_refused_without_waiting(folder: Path) -> None:
    stored(folder).unlink()
    os.mkfifo(folder / "digests", 0o600)
    assert DigestCache(str(folder)).get(STAMP, "sha256") is None


def test_size_is_bounded(folder: Path) -> None:
    path = stored(folder)
    line = format_line(STAMP, "sha256", SHA)
    path.write_bytes(HEADER + line * ((MAX_BYTES - len(HEADER)) // len(line)))
    DigestCache(str(folder)).put(OTHER, "sha256", SHA)
    assert path.read_bytes() == HEADER + format_line(OTHER, "sha256", SHA)
    path.write_bytes(HEADER + line * (MAX_BYTES // len(line) + 1))
    cache = DigestCache(str(folder))
    assert cache.get(STAMP, "sha256") is None
    assert cache.refused is not None


def test_unwritable_place_is_told_once(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").touch()
    cache = DigestCache(str(tmp_path / "file" / "hostscope"))
    cache.put(STAMP, "sha256", SHA)
    cache.put(STAMP, "md5", "cd")
    assert warnings == ["digest_cache_refused"]
    assert cache.get(STAMP, "sha256") == SHA


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: HEADER + tail + b"\n"))
def test_any_bytes(raw: bytes) -> None:
    try:
        parsed = parse_lines(raw)
    except Untrusted:
        return
    assert parsed == {} or raw != HEADER


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64), st.sampled_from(["sha256", "md5"]), st.from_regex("[0-9a-f]+", fullmatch=True))
    )
)
def test_what_is_written_is_read(entries: list[tuple[int, str, str]]) -> None:
    known = {(FileStamp(number, 2, 3, -4, 5), algorithm): digest for number, algorithm, digest in entries}
    raw = HEADER + b"".join(format_line(stamp, algorithm, digest) for (stamp, algorithm), digest in known.items())
    assert parse_lines(raw) == known
