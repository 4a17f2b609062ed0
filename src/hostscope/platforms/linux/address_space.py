"""The memory of one process, opened once."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from heapq import merge

from hostscope.errors import Gone, NativeError
from hostscope.model.memory import Region
from hostscope.platforms.linux.clock import PAGE_BYTES
from hostscope.platforms.linux.pagemap import Pagemap, Range, data_ranges, joined, tells_holes
from hostscope.platforms.linux.read import read_at

SHARED_MEMORY = ("/memfd:", "/SYSV", "/dev/zero", "/dev/shm/", "/anon_hugepage", "/dev/hugepages")
"""Paths of mappings whose untouched pages a read would allocate, in the memory of the process."""
LITTLE_BYTES = 16 << 20
"""Of shared memory, so little is read whole: some of its pages may be others' work, and not in this page table. Of
more, the file behind it says which pages it has."""
OpenMapped = Callable[[Region], int | None]
"""Opens the file behind a mapping; None where that is denied."""
_UNREADABLE = frozenset({errno.EIO, errno.EFAULT, errno.EPERM, errno.ENXIO, errno.EINVAL})
_LAZY = frozenset({"um", "ui"})
"""VmFlags of regions whose missing pages a userfaultfd gives."""
_NOT_DIRECT = frozenset({errno.EPERM, errno.ESRCH, errno.ENOSYS, errno.EACCES})


class AddressSpace:
    """Implements `hostscope.platforms.base_memory.AddressSpace`. May be used by several threads.

    /proc/PID/mem is bound to the address space that was there when it was opened: once that is gone (the process
    ended, or runs another program) reads give nothing. process_vm_readv is twice as fast, but goes by pid. So after
    each such read the file is asked for one byte: while it answers, the address space still has a user. Only one that
    is shared between processes (vfork) could outlive an exec unnoticed; `check` compares where the program's stack
    began, and what was read before a `Gone` from it must not be used.

    Reading takes no privilege: the file was opened with it, and where process_vm_readv wants it, the file is read.
    """

    def __init__(
        self,
        task: int,
        directory: int,
        mem: int,
        pagemap: Pagemap | None,
        auxv: bytes,
        in_memory: frozenset[str],
        open_mapped: OpenMapped,
    ) -> None:
        """`task` is a thread whose /proc directory is open as `directory`; all are the caller's to close.

        Files on the devices `in_memory` are memory themselves.
        """
        self._task = task
        self._directory = directory
        self._mem = mem
        self._pagemap = pagemap
        self._in_memory = in_memory
        self._open_mapped = open_mapped
        self._direct = True
        self._stack = self._read_stack()
        self.auxiliary_vector = auxv

    @property
    def method(self) -> str:
        """How memory is read, and untouched pages are told apart."""
        read = "process_vm_readv" if self._direct else "/proc/PID/mem"
        if self._pagemap is None:
            return f"{read}, every page"
        return f"{read}, {'PAGEMAP_SCAN' if self._pagemap.scans else 'pagemap'}"

    def read(self, address: int, into: memoryview) -> int:
        """Reads up to ``len(into)`` bytes; how many there were from `address` on before the first unreadable page.

        Raises:
            Gone: the process ended, or runs another program now.

        Source: process_vm_readv(2), and /proc/PID/mem where that is refused (memory without read permission, too).
        Cost: two system calls.
        """
        count = self._read_direct(address, into) if self._direct else 0
        if count:
            self._check_alive(address)
        return count + self._read_file(address + count, into[count:]) if count < len(into) else count

    def read_bytes(self, address: int, size: int) -> bytes:
        """The same as bytes of their own. Raises and costs as `read`."""
        from hostscope.platforms.linux.native.process_vm import process_vm_read_bytes

        if self._direct and size:
            try:
                found = process_vm_read_bytes(self._task, address, size)
            except OSError:
                found = b""  # `read` tells why
            if len(found) == size:
                self._check_alive(address)
                return found
        into = bytearray(size)
        return bytes(into[: self.read(address, memoryview(into))])

    def gather(self, ranges: Sequence[tuple[int, int]], into: memoryview) -> bool:
        """Reads all of several ranges, one behind the other; False when they have to be read one by one.

        Raises:
            Gone: the process ended, or runs another program now.

        Source: process_vm_readv(2), up to 1,024 ranges.
        Cost: two system calls.
        """
        from hostscope.platforms.linux.native.process_vm import process_vm_gather

        if not self._direct:
            return False
        try:
            count = process_vm_gather(self._task, ranges, into)
        except OSError:
            return False  # `read` tells why
        if count < len(into):
            return False
        self._check_alive(ranges[0][0])
        return True

    def resident(self, region: Region) -> Iterator[tuple[int, int]]:
        """The ranges that hold pages, ascending: what was never touched reads as zeros and is left out.

        Regular files are read up to their end: their pages are there whether or not this process looked at them. Where
        somebody else would have to give them (a file server, userfaultfd), only what the process has mapped is.

        Raises:
            Gone
        """
        takes = takes_memory(region, self._in_memory)
        whole = self._pagemap is None or (region.inode and not takes) or "ht" in region.flags
        if self._pagemap and (region.served_by or _LAZY & set(region.flags)):
            whole = False
        if whole or self._pagemap is None:
            backed = region.size_bytes if region.backed_bytes is None else region.backed_bytes
            if backed:
                yield region.start, region.start + backed
            return
        others = self._others(region) if takes and not region.served_by else ()
        try:
            yield from joined(merge(self._pagemap.used(region.start, region.end), others))
        except ProcessLookupError:
            raise self._gone() from None
        except OSError as failed:
            raise NativeError("pagemap", failed.errno or 0, failed.strerror or "") from failed

    def _others(self, region: Region) -> Iterator[Range]:
        """What shared memory holds, whoever put it there."""
        fd = self._open_mapped(region)
        if fd is None:
            return
        try:
            if tells_holes(fd):
                shift = region.start - region.offset
                for first, last in data_ranges(fd, region.offset, region.offset + region.size_bytes):
                    yield first + shift, last + shift
        finally:
            os.close(fd)

    def check(self) -> None:
        """Looks whether all that was read is of one program; of one that has ended since, each read was looked after.

        Raises:
            Gone: it runs another program now.
        """
        now = self._read_stack()
        if now and now != self._stack:
            raise Gone(f"process {self._task} runs another program now")

    def _read_direct(self, address: int, into: memoryview) -> int:
        from hostscope.platforms.linux.native.process_vm import process_vm_readv

        try:
            return process_vm_readv(self._task, address, into)
        except OSError as failed:
            if failed.errno in _NOT_DIRECT:
                self._direct = False
            elif failed.errno not in _UNREADABLE:
                raise NativeError("process_vm_readv", failed.errno or 0, failed.strerror or "") from failed
            return 0

    def _check_alive(self, address: int) -> None:
        try:
            alive = os.pread(self._mem, 1, address)
        except OSError:
            return  # unmapped meanwhile; an address space without users reads as empty instead
        if not alive:
            raise self._gone()

    def _read_file(self, address: int, into: memoryview) -> int:
        done = 0
        while done < len(into):
            try:
                count = os.preadv(self._mem, [into[done:]], address + done)
            except OSError as failed:
                if failed.errno in _UNREADABLE:
                    return done
                raise NativeError("read /proc/PID/mem", failed.errno or 0, failed.strerror or "") from failed
            except OverflowError:
                return done  # [vsyscall] lies beyond what a file offset can say
            if not count:
                raise self._gone()
            done += count
            if (address + done) % PAGE_BYTES:
                break
        return done

    def _gone(self) -> Gone:
        return Gone(f"process {self._task} ended, or runs another program now")

    def _read_stack(self) -> bytes:
        """Where its program's stack and arguments began: fields 28 and 48 to 51 of stat, new with every exec.

        Empty when it has ended, or was reaped.
        """
        try:
            fields = read_at(self._directory, "stat").rpartition(b")")[2].split()
        except OSError:
            return b""
        places = b" ".join([fields[25], *fields[45:49]])
        return b"" if not places.strip(b" 0") else places


def takes_memory(region: Region, in_memory: frozenset[str]) -> bool:
    """Whether reading untouched pages of a mapped file would use memory, and much of it."""
    shared = (region.path or "").startswith(SHARED_MEMORY) or region.device in in_memory
    return shared and bool(region.inode) and region.size_bytes > LITTLE_BYTES
