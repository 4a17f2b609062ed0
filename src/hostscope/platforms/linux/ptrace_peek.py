"""What the arguments of a stopped process's calls point to: paths, and whether memory may be written."""

import errno
import os
from contextlib import suppress

from msgspec import Struct

from hostscope.platforms.linux.native import procmap
from hostscope.platforms.linux.syscall_record import ADDRESS_BYTES

_PATH_BYTES = 4096
_MOST_HELD = 128
"""Processes whose files are held open."""
_MAPS_BYTES = 1 << 24
_NO_QUERY = frozenset({errno.ENOTTY, errno.EINVAL, errno.ENOSYS})


class _Files(Struct, frozen=True):
    """Open files of one address space; None for what could not be opened."""

    mem: int | None
    maps: int | None


class Peek:
    """Memory of traced processes. Its files stay open: to open them at each call takes longer than the call.

    They are of the address space that was there when they were opened, so they are dropped when a process runs another
    program (`forget`).
    """

    def __init__(self) -> None:
        self._held: dict[int, _Files] = {}
        self._queries = True
        """Whether the kernel answers for one address."""

    def path(self, pid: int, address: int) -> bytes:
        """A path in the memory of a stopped process; empty when it cannot be read."""
        return self._content(pid, address, _PATH_BYTES).split(b"\0", 1)[0]

    def address(self, pid: int, address: int, size: int) -> bytes:
        """The address of a socket; empty when it cannot be read. Of `size`, as the call has it, an int counts."""
        return self._content(pid, address, min(size & 0xFFFF_FFFF, ADDRESS_BYTES))

    def _content(self, pid: int, address: int, size: int) -> bytes:
        mem = self._files(pid).mem
        if mem is None:
            return b""
        with suppress(OSError, OverflowError):
            return os.pread(mem, size, address)
        return b""

    def is_writable(self, pid: int, address: int) -> bool:
        """Whether the memory at an address can be written now.

        Source: PROCMAP_QUERY (Linux 6.11), else /proc/PID/maps.
        """
        maps = self._files(pid).maps
        if maps is None:
            return False
        if self._queries:
            try:
                return bool(procmap.flags_at(maps, address) & procmap.PROCMAP_QUERY_VMA_WRITABLE)
            except OSError as failed:
                if failed.errno not in _NO_QUERY:
                    return False  # nothing is mapped there, or the process ended
                self._queries = False
        with suppress(OSError):
            return writable_at(_whole(maps), address)
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

    def _files(self, pid: int) -> _Files:
        files = self._held.get(pid)
        if files is None:
            if len(self._held) >= _MOST_HELD:
                self.close()
            files = self._held[pid] = _Files(_opened(pid, "mem"), _opened(pid, "maps"))
        return files


def writable_at(maps: bytes, address: int) -> bool:
    """Whether a map as text says that memory at an address can be written. Pure."""
    for line in filter(None, maps.split(b"\n")):
        span, _, rest = line.partition(b" ")
        start, _, end = span.partition(b"-")
        if int(start, 16) <= address < int(end, 16):
            return rest[1:2] == b"w"
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
