"""What the arguments of a stopped process's calls point to: paths, and whether memory may be written."""

import errno
import os
from contextlib import suppress

from msgspec import Struct

from hostscope.platforms.linux.native import procmap
from hostscope.platforms.linux.syscall_record import ADDRESS_BYTES

PATH_BYTES = 4096
"""PATH_MAX, its NUL included."""
_MOST_HELD = 128
"""Processes whose files are held open."""
_MAPS_BYTES = 1 << 24
_MOST_ADDRESS = (1 << 64) - 1
_NO_QUERY = frozenset({errno.ENOTTY, errno.EINVAL, errno.ENOSYS})


class _Files(Struct, frozen=True):
    """Open files of one address space; None for what could not be opened."""

    mem: int | None
    maps: int | None


class Peek:
    """Memory of traced processes. Its files stay open: to open them at each call takes longer than the call.

    They are of the address space that was there when they were opened, so they are dropped when a process runs another
    program (`forget`). They are opened by a thread `tid` that runs: when the first one has ended, its files are empty.
    """

    def __init__(self) -> None:
        self._held: dict[int, _Files] = {}
        self._queries = True
        """Whether the kernel answers for one address."""

    def path(self, pid: int, address: int, tid: int | None = None) -> bytes | None:
        """A path in the memory of a stopped process, so much of it as the kernel takes; None when it cannot be read."""
        content = self._content(pid, address, PATH_BYTES, tid)
        return content.split(b"\0", 1)[0] if content else None

    def address(self, pid: int, address: int, size: int, tid: int | None = None) -> bytes | None:
        """The address of a socket; None when it cannot be read. Of `size`, as the call has it, an int counts."""
        return self._content(pid, address, min(size & 0xFFFF_FFFF, ADDRESS_BYTES), tid) or None

    def _content(self, pid: int, address: int, size: int, tid: int | None) -> bytes:
        mem = self._files(pid, tid).mem
        if mem is None:
            return b""
        with suppress(OSError, OverflowError):
            return os.pread(mem, size, address)
        return b""

    def is_writable(self, pid: int, address: int, size: int, tid: int | None = None) -> bool:
        """Whether memory from an address on, up to the first hole, can be written now.

        Source: PROCMAP_QUERY (Linux 6.11), else /proc/PID/maps. Cost: a call for each mapping.
        """
        maps = self._files(pid, tid).maps
        if maps is None:
            return False
        if self._queries:
            try:
                return _queried(maps, address, address + size)
            except OSError as failed:
                if failed.errno not in _NO_QUERY:
                    return False  # nothing is mapped there, or the process ended
                self._queries = False
        with suppress(OSError):
            return writable_in(_whole(maps), address, address + size)
        return False

    def forget(self, pid: int) -> None:
        """The process ended, or runs another program now."""
        files = self._held.pop(pid, None)
        for fd in (files.mem, files.maps) if files else ():
            if fd is not None:
                os.close(fd)

    def close(self) -> None:
        """Closes all files."""
        for pid in list(self._held):
            self.forget(pid)

    def _files(self, pid: int, tid: int | None) -> _Files:
        files = self._held.get(pid)
        if files is None:
            if len(self._held) >= _MOST_HELD:
                self.close()
            files = self._held[pid] = _Files(_opened(tid or pid, "mem"), _opened(tid or pid, "maps"))
        return files


def _queried(maps: int, address: int, end: int) -> bool:
    """Raises OSError, at a hole too."""
    while address < min(end, _MOST_ADDRESS):
        address, flags = procmap.mapped_at(maps, address)
        if flags & procmap.PROCMAP_QUERY_VMA_WRITABLE:
            return True
    return False


def writable_in(maps: bytes, address: int, end: int) -> bool:
    """Whether a map as text says that memory from an address to `end` or the first hole can be written. Pure."""
    for line in filter(None, maps.split(b"\n")):
        span, _, rest = line.partition(b" ")
        first, _, last = span.partition(b"-")
        if int(first, 16) <= address < min(int(last, 16), end):
            if rest[1:2] == b"w":
                return True
            address = int(last, 16)
    return False


def _opened(pid: int, name: str) -> int | None:
    try:
        return os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _whole(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    pieces, size = [], 0
    while size < _MAPS_BYTES and (piece := os.read(fd, 1 << 16)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
