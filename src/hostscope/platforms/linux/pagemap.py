"""Which pages of an address space were ever used."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from hostscope.platforms.linux.clock import PAGE_BYTES

Range = tuple[int, int]
_NO_SCAN = frozenset({errno.ENOTTY, errno.EINVAL, errno.ENOSYS})
_ENTRY_BYTES = 8
_ENTRIES = 1 << 17
_STEP_BYTES = 256 << 20
"""While a range is walked the process can change no mapping: so not for long at a time."""
_EMPTY_STEP_BYTES = 64 << 30
"""Where nothing was found, steps double up to this: memory that is merely reserved has hardly any tables to walk."""
PRESENT_OR_SWAPPED = 62
"""Bits 63 and 62 of an entry; Documentation/admin-guide/mm/pagemap.rst."""


class Pagemap:
    """An open /proc/PID/pagemap."""

    def __init__(self, fd: int, scans: bool = True) -> None:
        self._fd = fd
        self.scans = scans
        """Whether PAGEMAP_SCAN is used; False once the kernel refused it."""

    def used(self, start: int, end: int) -> Iterator[Range]:
        """Ranges with pages that are present or swapped out, ascending, those that touch joined.

        Cost: one system call for 16,384 ranges; before Linux 6.7 one for half a GiB.

        Raises:
            OSError
        """
        return joined(self._scanned(start, end))

    def _scanned(self, start: int, end: int) -> Iterator[Range]:
        from hostscope.platforms.linux.native import pagemap

        room, step = pagemap.Room(), _STEP_BYTES
        while start < end and self.scans:
            try:
                ranges, walked = pagemap.scan(self._fd, start, min(end, start + step), room)
            except OSError as failed:
                if failed.errno not in _NO_SCAN:
                    raise
                self.scans = False
                break
            yield from ranges
            if walked <= start:
                return
            start = walked
            step = _STEP_BYTES if ranges else min(2 * step, _EMPTY_STEP_BYTES)
        if start < end:
            yield from self._read(start, end)

    def _read(self, start: int, end: int) -> Iterator[Range]:
        for first in range(start, end, _ENTRIES * PAGE_BYTES):
            pages = (min(first + _ENTRIES * PAGE_BYTES, end) - first) // PAGE_BYTES
            raw = os.pread(self._fd, pages * _ENTRY_BYTES, first // PAGE_BYTES * _ENTRY_BYTES)
            yield from runs(raw, first)


def runs(raw: bytes, start: int) -> Iterator[Range]:
    """Used ranges from pagemap entries of consecutive pages, the first of which is at `start`."""
    import numpy  # only before Linux 6.7; it would slow down every command that merely could read memory

    entries = numpy.frombuffer(raw[: len(raw) // _ENTRY_BYTES * _ENTRY_BYTES], "<u8")
    used = (entries >> numpy.uint64(PRESENT_OR_SWAPPED)) != 0
    edges = numpy.flatnonzero(numpy.diff(numpy.concatenate(([0], used.view(numpy.int8), [0]))))
    for first, last in edges.reshape(-1, 2).tolist():
        yield start + first * PAGE_BYTES, start + last * PAGE_BYTES


def tells_holes(fd: int) -> bool:
    """Whether the open file of shared memory says where it has pages. hugetlbfs calls all of a file data."""
    return os.fstat(fd).st_blksize == PAGE_BYTES


def data_ranges(fd: int, offset: int, end: int) -> Iterator[Range]:
    """Where a file has pages between two offsets, ascending. Source: lseek(SEEK_DATA, SEEK_HOLE)."""
    with suppress(OSError):  # ENXIO: only a hole is left
        while offset < end:
            first = os.lseek(fd, offset, os.SEEK_DATA)
            offset = -(-os.lseek(fd, first, os.SEEK_HOLE) // PAGE_BYTES) * PAGE_BYTES
            if first < end:
                yield first, min(offset, end)


def joined(ranges: Iterable[Range]) -> Iterator[Range]:
    """Ascending ranges with those that touch made one."""
    current: Range | None = None
    for start, end in ranges:
        if current and start <= current[1]:
            current = (current[0], max(current[1], end))
        else:
            if current:
                yield current
            current = (start, end)
    if current:
        yield current
