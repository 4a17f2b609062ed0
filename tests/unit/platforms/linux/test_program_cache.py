"""The cache of relocated programs believes only what nobody but root can have written."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Unsupported, Untrusted
from hostscope.platforms.linux import program_cache as cache
from hostscope.platforms.linux.image import DataImage, Image, MapImage, ProgramImage

IMAGE = Image(
    (MapImage("scratch", 2, 4, 100, 1),),
    (ProgramImage("tasks", "iter.s", "task", True, 7, b"\x95" + bytes(7), ((4, "scratch"),), b""),),
    b"types",
    (DataImage(".rodata", b"\1\0\0\0", True),),
    {"want": (".rodata", 0, 4)},
)
KEY = "0123abcd"

root = pytest.mark.root


class Builder:
    """Builds `IMAGE`, and knows how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Image:
        self.calls += 1
        return IMAGE


@pytest.fixture
def build() -> Builder:
    return Builder()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place for the cache below a directory that only root can write to."""
    tmp_path.chmod(0o755)
    yield tmp_path / "cache"


def entry(folder: Path) -> Path:
    return folder / f"tasks-{KEY}.bin"


def filled(folder: Path) -> Path:
    assert cache.cached(str(folder), "tasks", KEY, lambda: IMAGE).note == "no programs were cached for this kernel yet"
    return entry(folder)


@root
def test_the_second_time_nothing_is_built(folder: Path, build: Builder) -> None:
    filled(folder)
    assert cache.cached(str(folder), "tasks", KEY, build) == cache.Found(IMAGE, None)
    assert build.calls == 0


@root
def test_it_is_roots_alone(folder: Path) -> None:
    path = filled(folder)
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777, path.stat().st_uid) == (0o700, 0o600, 0)


def tamper(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def replace_by_link(path: Path) -> None:
    other = path.parent.parent / "elsewhere"
    path.rename(other)
    path.symlink_to(other)


def link_again(path: Path) -> None:
    os.link(path, path.parent.parent / "second")


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@root
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (tamper, "digest"),
        (lambda path: path.write_bytes(b"x"), "no program cache"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "digest"),
        (lambda path: path.chmod(0o620), "mode 620"),
        (lambda path: path.chmod(0o604), "mode 604"),
        (lambda path: os.chown(path, 65534, 0), "user 65534"),
        (replace_by_link, "symbolic links"),
        (link_again, "other names"),
        (make_fifo, "regular"),
    ],
    ids=["bit", "foreign", "cut", "group", "others", "owner", "symlink", "hardlink", "fifo"],
)
def test_a_changed_entry_is_refused_and_written_anew(folder: Path, build: Builder, damage, reason) -> None:  # type: ignore[no-untyped-def]
    path = filled(folder)
    damage(path)
    found = cache.cached(str(folder), "tasks", KEY, build)
    assert found.note and found.note.startswith("the cached programs are refused:")
    assert reason in found.note
    assert build.calls == 1
    assert cache.cached(str(folder), "tasks", KEY, build).note is None
    assert build.calls == 1


@root
@pytest.mark.parametrize("mode", [0o777, 0o755, 0o720])
def test_a_directory_that_others_may_enter_is_not_used(folder: Path, build: Builder, mode: int) -> None:
    filled(folder)
    folder.chmod(mode)
    found = cache.cached(str(folder), "tasks", KEY, build)
    assert build.calls == 1
    assert found.note and "is not used" in found.note


@root
def test_a_directory_of_another_user_is_not_used(folder: Path, build: Builder) -> None:
    filled(folder)
    os.chown(folder, 65534, 65534)
    assert "user 65534" in (cache.cached(str(folder), "tasks", KEY, build).note or "")


@root
def test_a_parent_that_others_may_write_to_is_not_trusted(folder: Path, build: Builder) -> None:
    filled(folder)
    folder.parent.chmod(0o777)
    assert "is not used" in (cache.cached(str(folder), "tasks", KEY, build).note or "")


@root
def test_a_link_for_a_directory_is_not_followed(folder: Path, build: Builder) -> None:
    filled(folder)
    folder.rename(folder.parent / "moved")
    folder.symlink_to(folder.parent / "moved")
    assert "is not used" in (cache.cached(str(folder), "tasks", KEY, build).note or "")


@root
def test_entries_of_other_kernels_go(folder: Path) -> None:
    filled(folder)
    cache.cached(str(folder), "tasks", "ffff", lambda: IMAGE)
    assert [path.name for path in folder.iterdir()] == ["tasks-ffff.bin"]


@root
def test_entries_of_other_objects_stay(folder: Path) -> None:
    for name, key in (("tasks", "1"), ("tasks-more", "2"), ("sockets", "3"), ("tasks", "4")):
        cache.cached(str(folder), name, key, lambda: IMAGE)
    assert {path.name for path in folder.iterdir()} == {"tasks-4.bin", "tasks-more-2.bin", "sockets-3.bin"}


def test_an_object_for_this_machine_goes_first(tmp_path: Path) -> None:
    machine = os.uname().machine
    (tmp_path / "any.bpf.o").write_bytes(b"any")
    (tmp_path / f"both.{machine}.bpf.o").write_bytes(b"ours")
    (tmp_path / "both.bpf.o").write_bytes(b"any")
    (tmp_path / "theirs.vax.bpf.o").write_bytes(b"theirs")
    assert [cache.read_object(name, str(tmp_path)) for name in ("any", "both")] == [b"any", b"ours"]
    with pytest.raises(Unsupported, match=f"theirs for {machine}"):
        cache.read_object("theirs", str(tmp_path))


@root
def test_where_it_cannot_be_kept_the_programs_still_come(folder: Path, build: Builder) -> None:
    (folder.parent / "file").write_bytes(b"")
    found = cache.cached(str(folder.parent / "file" / "cache"), "tasks", KEY, build)
    assert (found.image, build.calls) == (IMAGE, 1)
    assert found.note and "Not a directory" in found.note


def test_the_key_depends_on_object_and_kernel() -> None:
    keys = {cache.cache_key(b"a", b"b"), cache.cache_key(b"ab", b""), cache.cache_key(b"a", b"c")}
    assert len(keys) == 3


def test_an_entry_reads_as_it_was_written() -> None:
    assert cache.parse_entry(cache.render_entry(IMAGE)) == IMAGE


@given(st.binary(max_size=200))
def test_any_bytes_as_an_entry(raw: bytes) -> None:
    with suppress(Untrusted):
        cache.parse_entry(raw)


@given(st.integers(0, len(cache.render_entry(IMAGE)) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, change: int) -> None:
    raw = bytearray(cache.render_entry(IMAGE))
    raw[at] ^= change
    with pytest.raises(Untrusted):
        cache.parse_entry(bytes(raw))
