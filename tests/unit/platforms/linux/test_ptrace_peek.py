"""What arguments of calls point to: both ways of asking for a mapping agree, and files follow the process's program."""

import ctypes
import mmap
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux.native import procmap
from hostscope.platforms.linux.ptrace_peek import Peek, writable_at
from tests.descriptors import descriptors

pytestmark = pytest.mark.system
PAGE = mmap.PAGESIZE


def refused(maps: int, address: int) -> int:
    raise OSError(25, "Inappropriate ioctl for device")


@pytest.mark.parametrize("queries", [True, False])
def test_own_mappings(queries: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not queries:
        monkeypatch.setattr(procmap, "flags_at", refused)
    written, read = (mmap.mmap(-1, PAGE), mmap.mmap(-1, PAGE))
    addresses = [ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (written, read)]
    libc = ctypes.CDLL(None)
    assert libc.mprotect(ctypes.c_void_p(addresses[1]), PAGE, mmap.PROT_READ) == 0
    peek = Peek()
    assert [peek.is_writable(os.getpid(), at) for at in (*addresses, 0)] == [True, False, False]
    assert libc.mprotect(ctypes.c_void_p(addresses[1]), PAGE, mmap.PROT_READ | mmap.PROT_WRITE) == 0
    assert peek.is_writable(os.getpid(), addresses[1]), "asked anew, not remembered"
    peek.close()


def test_paths_and_what_is_none() -> None:
    held = ctypes.create_string_buffer(b"/etc/passwd\0rest")
    peek = Peek()
    assert peek.path(os.getpid(), ctypes.addressof(held)) == b"/etc/passwd"
    assert peek.path(os.getpid(), 1) == b""
    assert peek.path(os.getpid(), 1 << 64) == b""
    peek.close()


def test_one_that_has_ended_or_never_was() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        peek = Peek()
        with open(f"/proc/{child.pid}/maps") as maps:
            lines = [line.split() for line in maps]
        stack = next(int(line[0].split("-")[0], 16) for line in lines if line[-1] == "[stack]")
        assert peek.is_writable(child.pid, stack)
        child.kill()
    assert not peek.is_writable(child.pid, stack)
    assert peek.path(child.pid, stack) == b""
    peek.forget(child.pid)
    peek.forget(child.pid)
    assert peek.path(child.pid, stack) == b"", "not even its files are there"
    peek.close()


def test_files_are_let_go_of() -> None:
    before = descriptors()
    peek = Peek()
    for pid in range(1_000_000, 1_000_500):  # none of them
        assert not peek.is_writable(pid, 0)
    peek.path(os.getpid(), 0)
    peek.forget(os.getpid())
    assert descriptors() <= before


@given(st.lists(st.tuples(st.integers(0, 1 << 47), st.integers(1, 1 << 30), st.booleans()), max_size=9))
def test_maps_as_text(regions: list[tuple[int, int, bool]]) -> None:
    lines = [f"{start:x}-{start + size:x} r{'w' if w else '-'}-p 0 0:0 0 x" for start, size, w in regions]
    raw = "\n".join(lines).encode()
    for start, size, _ in regions:
        first = next(w for at, length, w in regions if at <= start < at + length)
        assert writable_at(raw, start) == first
        assert writable_at(raw, start + size) in (True, False)


def test_a_carriage_return_in_a_name_ends_no_line() -> None:
    raw = b"1000-2000 r--p 0 0:0 7 /tmp/a\r5000-6000 rw-p\n5000-6000 r--p 0 0:0 0\n"
    assert not writable_at(raw, 0x5000)
    assert not writable_at(raw.replace(b"\r5000", b"\rx"), 0x5000)
