"""The texts of /proc/PID that `detail` reads."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Gone, UsageError
from hostscope.model.detail import MemoryMap, Variable
from hostscope.model.text import encode
from hostscope.platforms.linux import detail, parse_detail
from hostscope.platforms.linux.detail import open_holder, read_detail
from hostscope.platforms.linux.parse_detail import (
    FdInfo,
    kind_of,
    numbers,
    open_mode,
    parse_environ,
    parse_fdinfo,
    parse_maps,
    parse_named_inode,
    whole_lines,
)


def test_maps() -> None:
    raw = (
        b"55bcc3c18000-55bcc3c1a000 r--p 00002000 fe:00 260386                     /usr/bin/he ad\n"
        b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
        b"7ffc0000-7ffd0000 rw-p 00000000 00:00 0                          [stack]\n"
        b"7f0000001000-7f0000002000 rwxs 00000000 00:01 12   /memfd:x y (deleted)\n"
        b"7f0000002000-7f0000003000 r-xp 00000000 fe:00 13   /tmp/new\\012line\xff\n"
    )
    head, anonymous, stack, memfd, odd = parse_maps(raw)
    assert head == MemoryMap(0x55BCC3C18000, 0x55BCC3C1A000, "r--p", 0x2000, "fe:00", 260386, "/usr/bin/he ad", False)
    assert (anonymous.path, stack.path) == (None, "[stack]")
    assert (memfd.path, memfd.deleted, memfd.permissions) == ("/memfd:x y", True, "rwxs")
    assert encode(odd.path or "") == b"/tmp/new\nline\xff"


@pytest.mark.parametrize(
    "raw", [b"1-2 r--p 0 fe:00", b"12 r--p 0 fe:00 1 /x", b"g-h r--p 0 fe:00 1", b"1-2 \xff 0 0 0"]
)
def test_half_a_map_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        parse_maps(raw)


def test_fdinfo() -> None:
    raw = b"pos:\t17\nflags:\t0102002\nmnt_id:\t24\nino:\t3\neventfd-count: 0\n"
    assert parse_fdinfo(raw) == FdInfo(17, "rwa", 3)
    assert parse_fdinfo(b"pos:\t0\nflags:\t0100000\n") == FdInfo(0, "r", None)


@pytest.mark.parametrize(
    ("flags", "mode"),
    [(os.O_RDONLY, "r"), (os.O_WRONLY | os.O_APPEND, "wa"), (os.O_RDWR, "rw"), (os.O_PATH, None), (3, None)],
)
def test_open_modes(flags: int, mode: str | None) -> None:
    assert open_mode(flags) == mode


@pytest.mark.parametrize(
    ("link", "mode", "kind"),
    [
        (b"socket:[5]", None, "socket"),
        (b"pipe:[5]", None, "pipe"),
        (b"/memfd:a (deleted)", 0o100777, "memfd"),
        (b"anon_inode:[pidfd]", None, "pidfd"),
        (b"anon_inode:[eventfd]", None, "anon_inode"),
        (b"anon_inode:bpf-map", None, "anon_inode"),
        (b"/tmp", 0o040755, "directory"),
        (b"/tmp/x", 0o100644, "file"),
        (b"/tmp/fifo", 0o010644, "pipe"),
        (b"/dev/null", 0o020666, "device"),
        (b"/dev/sda", 0o060660, "device"),
        (b"mnt:[4026531841]", None, "other"),
    ],
)
def test_kinds(link: bytes, mode: int | None, kind: str) -> None:
    assert kind_of(link, mode) == kind


def test_named_inodes() -> None:
    assert parse_named_inode(b"socket:[123]") == 123
    assert parse_named_inode(b"/tmp/socket:[123]") is None
    assert parse_named_inode(b"socket:[123] (deleted)") is None


def test_environ() -> None:
    raw = b"A=1\0B=x=y\0\0EMPTY=\0odd\0N=a\nb\xff\0"
    pairs = [("A", "1"), ("B", "x=y"), ("EMPTY", ""), ("odd", ""), ("N", "a\nb\U0010eeff")]
    assert parse_environ(raw) == [Variable(*pair) for pair in pairs]


def test_a_cut_text_loses_its_last_line() -> None:
    assert whole_lines(b"one\ntwo", 100) == (b"one\ntwo", False)
    assert whole_lines(b"one\ntwo", 7) == (b"one\n", True)


def test_numbers_only() -> None:
    assert numbers(["10", "2", "self", "-1", "²"]) == [2, 10]


@given(st.binary())
def test_parsers_survive_any_bytes(raw: bytes) -> None:
    parse_environ(raw)
    parse_named_inode(raw)
    kind_of(raw, None)
    for parse in (parse_maps, parse_fdinfo):
        with contextlib.suppress(ValueError):
            parse(raw)


@given(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw))
def test_environment_bytes_come_back(raw: bytes) -> None:
    (found,) = parse_environ(raw + b"\0")
    name, equals, value = raw.partition(b"=")
    assert encode(found.name) == name
    assert encode(found.value) == value or not equals


@given(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw and b"\\012" not in raw))
def test_map_paths_come_back(name: bytes) -> None:
    path = b"/" + name
    shown = path.replace(b"\n", b"\\012")
    (found,) = parse_maps(b"1000-2000 r--p 00000000 fe:00 7      " + shown + b"\n")
    assert encode(found.path or "") + parse_detail.DELETED * found.deleted == path


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown part 'secrets'"):
        read_detail(os.getpid(), frozenset({"secrets"}))


def test_a_process_that_is_not_there() -> None:
    with pytest.raises(Gone):
        read_detail(2**22 + 1, frozenset({"maps"}))


def test_nothing_asked_nothing_read() -> None:
    found = read_detail(os.getpid(), frozenset())
    assert (found.maps, found.open_files, found.gaps) == (None, None, ())


STAT = "{} (x) {} " + " ".join(["1"] * 16) + " 2 " + " ".join(["0"] * 40)
"""Field 20 is the number of threads."""


@pytest.fixture
def ended_leader(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A process of two threads of which the first has ended; the other has a lower number, as after a wrap."""
    (tmp_path / "stat").write_text(STAT.format(700, "Z"))
    for tid, state in ((700, "Z"), (30, "S")):
        (tmp_path / "task" / str(tid)).mkdir(parents=True)
        (tmp_path / "task" / str(tid) / "stat").write_text(STAT.format(tid, state))
    process = os.open(tmp_path, os.O_PATH)
    yield process, tmp_path / "task" / "30"
    os.close(process)


def test_a_thread_with_a_lower_number_stands_in_for_the_first(ended_leader: tuple[int, Path]) -> None:
    process, thread = ended_leader
    with open_holder(process) as (tid, directory):
        assert tid == 30 and os.fstat(directory).st_ino == thread.stat().st_ino
    (thread / "stat").write_text(STAT.format(30, "Z"))
    with open_holder(process) as found:
        assert found == (None, process)


def test_a_thread_that_ends_before_it_is_opened(
    ended_leader: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detail, "living_thread", lambda process: 31)
    with open_holder(ended_leader[0]) as found:
        assert found == (None, ended_leader[0])
