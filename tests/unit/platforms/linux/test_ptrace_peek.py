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
from hostscope.platforms.linux.ptrace_peek import Peek, writable_in
from tests.descriptors import descriptors

pytestmark = pytest.mark.system
PAGE = mmap.PAGESIZE


def refused(maps: int, address: int) -> tuple[int, int]:
    raise OSError(25, "Inappropriate ioctl for device")


@pytest.mark.parametrize("queries", [True, False])
def test_own_mappings(queries: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not queries:
        monkeypatch.setattr(procmap, "mapped_at", refused)
    written, read = (mmap.mmap(-1, PAGE), mmap.mmap(-1, PAGE))
    addresses = [ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (written, read)]
    libc = ctypes.CDLL(None)
    assert libc.mprotect(ctypes.c_void_p(addresses[1]), PAGE, mmap.PROT_READ) == 0
    peek = Peek()
    assert [peek.is_writable(os.getpid(), at, PAGE) for at in (*addresses, 0)] == [True, False, False]
    assert libc.mprotect(ctypes.c_void_p(addresses[1]), PAGE, mmap.PROT_READ | mmap.PROT_WRITE) == 0
    assert peek.is_writable(os.getpid(), addresses[1], PAGE), "asked anew, not remembered"
    peek.close()


def test_paths_and_what_is_none() -> None:
    held = ctypes.create_string_buffer(b"/etc/passwd\0rest")
    peek = Peek()
    assert peek.path(os.getpid(), ctypes.addressof(held)) == b"/etc/passwd"
    assert peek.path(os.getpid(), 1) is None
    assert peek.path(os.getpid(), 1 << 64) is None
    assert peek.path(os.getpid(), ctypes.addressof(held) + len("/etc/passwd")) == b""
    peek.close()


def test_one_that_has_ended_or_never_was() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        peek = Peek()
        with open(f"/proc/{child.pid}/maps") as maps:
            lines = [line.split() for line in maps]
        stack = next(int(line[0].split("-")[0], 16) for line in lines if line[-1] == "[stack]")
        assert peek.is_writable(child.pid, stack, PAGE)
        child.kill()
    assert not peek.is_writable(child.pid, stack, PAGE)
    assert peek.path(child.pid, stack) is None
    peek.forget(child.pid)
    peek.forget(child.pid)
    assert peek.path(child.pid, stack) is None, "not even its files are there"
    peek.close()


def test_files_are_let_go_of() -> None:
    before = descriptors()
    peek = Peek()
    for pid in range(1_000_000, 1_000_500):  # none of them
        assert not peek.is_writable(pid, 0, PAGE)
    peek.path(os.getpid(), 0)
    peek.forget(os.getpid())
    assert descriptors() <= before


@pytest.mark.parametrize("queries", [True, False])
def test_all_of_what_a_call_is_about_is_looked_at(queries: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first page that cannot be written hides none of the others; behind a hole the kernel does not go."""
    if not queries:
        monkeypatch.setattr(procmap, "mapped_at", refused)
    held, libc = mmap.mmap(-1, 4 * PAGE), ctypes.CDLL(None)
    first = ctypes.addressof(ctypes.c_char.from_buffer(held))
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert libc.mprotect(first, PAGE, mmap.PROT_READ) == 0
    peek = Peek()
    asked = [peek.is_writable(os.getpid(), first, size) for size in (0, PAGE, PAGE + 1, 4 * PAGE, 1 << 63, 1 << 64)]
    assert asked == [False, False, True, True, True, True]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    assert libc.munmap(first + PAGE, PAGE) == 0
    assert not peek.is_writable(os.getpid(), first, 4 * PAGE)
    peek.close()


@given(st.lists(st.tuples(st.integers(0, 1 << 47), st.integers(1, 1 << 30), st.booleans()), max_size=9))
def test_maps_as_text(regions: list[tuple[int, int, bool]]) -> None:
    lines = [f"{start:x}-{start + size:x} r{'w' if w else '-'}-p 0 0:0 0 x" for start, size, w in regions]
    raw = "\n".join(lines).encode()
    for start, size, _ in regions:
        first = next(w for at, length, w in regions if at <= start < at + length)
        assert writable_in(raw, start, start + 1) == first
        assert writable_in(raw, start, start) is False
        assert writable_in(raw, start, start + size + 1) in (True, False)


def test_a_carriage_return_in_a_name_ends_no_line() -> None:
    raw = b"1000-2000 r--p 0 0:0 7 /tmp/a\r5000-6000 rw-p\n5000-6000 r--p 0 0:0 0\n"
    assert not writable_in(raw, 0x5000, 0x6000)
    assert not writable_in(raw.replace(b"\r5000", b"\rx"), 0x5000, 0x6000)
