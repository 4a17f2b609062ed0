"""Which pages are there: the scan and the table agree, also where a range count is a multiple of 512."""

import ctypes
import mmap
import os
import subprocess

import pytest

from hostscope.errors import Gone
from hostscope.model.request import ProcessRequest
from hostscope.platforms.linux.clock import PAGE_BYTES
from hostscope.platforms.linux.host import open_host
from hostscope.platforms.linux.native import pagemap as native
from hostscope.platforms.linux.pagemap import Pagemap

pytestmark = pytest.mark.system


@pytest.mark.parametrize("runs", [0, 1, 511, 512, 513, 1024, 20_000])
def test_both_ways_see_the_same_pages(runs: int) -> None:
    size = max(runs, 1) * 2 * PAGE_BYTES + PAGE_BYTES
    held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        held.madvise(mmap.MADV_NOHUGEPAGE)
    for number in range(runs):
        held[(2 * number + 1) * PAGE_BYTES] = 1
    held[0]  # reading maps the zero page, which counts as untouched where that can be told
    start = ctypes.addressof(ctypes.c_char.from_buffer(held))
    fd = os.open("/proc/self/pagemap", os.O_RDONLY)
    try:
        expected = [(start + (2 * n + 1) * PAGE_BYTES, start + (2 * n + 2) * PAGE_BYTES) for n in range(runs)]
        scanned = list(Pagemap(fd).used(start, start + size))
        table = list(Pagemap(fd, scans=False).used(start, start + size))
    finally:
        os.close(fd)
    zero = (start, start + PAGE_BYTES)
    if scanned != expected:  # before Linux 6.7 there is no scan, and the zero page is a page
        assert scanned == table
    assert joined_without(table, zero) == expected


def test_pages_of_one_that_has_ended() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        host = open_host()
        key = host.processes.read(child.pid, ProcessRequest()).key
        anonymous = next(one for one in host.memory.regions(key, False) if not one.inode and one.path == "[stack]")
        with host.memory.open(key) as space:
            child.kill()
            child.wait()
            with pytest.raises(Gone):
                list(space.resident(anonymous))
    finally:
        child.kill()
        child.wait()


def test_scattered_pages_are_read_in_one_call() -> None:
    pages = 600
    held = mmap.mmap(-1, pages * PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for number in range(pages):
        held[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = number.to_bytes(2, "big") * (PAGE_BYTES // 2)
    start = ctypes.addressof(ctypes.c_char.from_buffer(held))
    wanted = [n for n in range(pages) if n % 3 == 1]
    ranges = [(start + n * PAGE_BYTES, start + (n + 1) * PAGE_BYTES) for n in wanted]
    into = memoryview(bytearray(len(wanted) * PAGE_BYTES))
    host = open_host()
    with host.memory.open(host.processes.read(os.getpid(), ProcessRequest()).key) as space:
        assert space.gather(ranges, into)
        assert bytes(into) == b"".join(n.to_bytes(2, "big") * (PAGE_BYTES // 2) for n in wanted)
        nothing = (0, PAGE_BYTES)  # nobody may map that
        assert not space.gather([*ranges[:5], nothing, *ranges[5:-1]], into)
        assert not space.gather(ranges * 6, into[: len(into) // 2]), "more ranges than one call takes"


def test_scattered_pages_of_one_that_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        host = open_host()
        key = host.processes.read(child.pid, ProcessRequest()).key
        stack = next(one for one in host.memory.regions(key, False) if one.path == "[stack]")
        ends = [(stack.end - PAGE_BYTES, stack.end), (stack.end - 2 * PAGE_BYTES, stack.end - PAGE_BYTES)]
        with host.memory.open(key) as space:
            assert space.gather(ends, memoryview(bytearray(2 * PAGE_BYTES)))
            child.kill()
            child.wait()
            assert not space.gather(ends, memoryview(bytearray(2 * PAGE_BYTES)))
            with pytest.raises(Gone):
                space.read(ends[0][0], memoryview(bytearray(PAGE_BYTES)))


def joined_without(ranges: list[tuple[int, int]], zero: tuple[int, int]) -> list[tuple[int, int]]:
    """The ranges, the page at the beginning left out."""
    return [(max(first, zero[1]), last) for first, last in ranges if last > zero[1]]


def test_reserved_memory_is_walked_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tebibyte of which two pages are used; a page right behind a long hole is found, too."""
    no_reserve = 0x4000
    try:
        held = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    except OSError:
        pytest.skip("so much address space is not to be had here")
    held.madvise(mmap.MADV_NOHUGEPAGE)
    pages = [3 << 20, (1 << 40) - PAGE_BYTES]
    for page in pages:
        held[page] = 1
    start = ctypes.addressof(ctypes.c_char.from_buffer(held))
    real, steps = native.scan, []
    monkeypatch.setattr(native, "scan", lambda *given: steps.append(given[1]) or real(*given))
    fd = os.open("/proc/self/pagemap", os.O_RDONLY)
    try:
        map_ = Pagemap(fd)
        found = list(map_.used(start, start + (1 << 40)))
        if not map_.scans:
            pytest.skip("no PAGEMAP_SCAN before Linux 6.7")
    finally:
        os.close(fd)
    assert found == [(start + page, start + page + PAGE_BYTES) for page in pages]
    assert len(steps) < 40
