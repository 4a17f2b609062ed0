"""Reading and writing at a place of an open file, on every system."""

import os
import threading
from typing import Any

_pread: Any = getattr(os, "pread", None)
_pwrite: Any = getattr(os, "pwrite", None)
_one_at_a_time = threading.Lock()
READ_ONLY = (
    os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)  # fmt: skip
"""Does not wait for who writes to a pipe."""
SEEK_DATA: int | None = getattr(os, "SEEK_DATA", None)
SEEK_HOLE: int | None = getattr(os, "SEEK_HOLE", None)


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Up to `size` bytes. Raises OSError."""
    if _pread:
        found: bytes = _pread(fd, size, offset)
        return found
    with _one_at_a_time:  # Windows has one position for all threads
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)


def write_at(fd: int, content: memoryview | bytes, offset: int) -> None:
    """Writes all of it. Raises OSError."""
    while content:
        written = _write(fd, content, offset)
        content, offset = content[written:], offset + written


def _write(fd: int, content: memoryview | bytes, offset: int) -> int:
    if _pwrite:
        written: int = _pwrite(fd, content, offset)
        return written
    with _one_at_a_time:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, content)


def data_range(fd: int, start: int, end: int) -> tuple[int, int] | None:
    """The first range with data from `start` on; None when there is only a hole up to `end`."""
    if SEEK_DATA is None or SEEK_HOLE is None:
        return (start, end) if start < end else None
    try:
        first = os.lseek(fd, start, SEEK_DATA)
        last = os.lseek(fd, first, SEEK_HOLE)
    except OSError:
        return None
    return (first, min(last, end)) if first < end else None
