"""The memory of one process, by a right to its task."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from hostscope.errors import Unsupported
from hostscope.model.memory import Region
from hostscope.platforms.macos.native import mach
from hostscope.platforms.macos.native.mach import KernFailure
from hostscope.platforms.macos.tasks import VANISHED, translated

UNREADABLE = frozenset({mach.KERN_INVALID_ADDRESS, mach.KERN_PROTECTION_FAILURE, mach.KERN_INVALID_ARGUMENT})
AT_ONCE = 1 << 15
"""Pages that are asked about in one call."""


class AddressSpace:
    """Implements `hostscope.platforms.base_memory.AddressSpace`. May be used by several threads.

    Whether reading a page that was never touched makes one in the process is not known without a Mac: such pages are
    left out where the kernel tells them apart.
    """

    auxiliary_vector = b""

    def __init__(self, pid: int, task: int, page_bytes: int, check: Callable[[], None]) -> None:
        """`task` is the caller's to release; `check` raises when the pid is another process's now."""
        self._pid, self._task, self._page_bytes, self._check = pid, task, page_bytes, check
        self._tells = True

    @property
    def method(self) -> str:
        """How memory is read, and how untouched pages are told apart."""
        return "mach_vm_read_overwrite, " + ("mach_vm_page_range_query" if self._tells else "every page")

    def read(self, address: int, into: memoryview) -> int:
        """Reads up to ``len(into)`` bytes; how many there were before the first unreadable page.

        Raises:
            Gone: the process ended, or runs another program now.

        Cost: one call; where a part cannot be read, one more for each halving.
        """
        done = 0
        while done < len(into):
            size = self._readable(address + done, into[done:])
            if not size:
                break
            done += size
        return done

    def _readable(self, address: int, into: memoryview) -> int:
        """Reads as much as one call gives: the kernel gives all, or nothing."""
        size = len(into)
        while size:
            try:
                return mach.read_into(self._task, address, into[:size])
            except KernFailure as failed:
                if failed.code not in UNREADABLE:
                    raise translated(failed, self._pid) from None
            size = self._smaller(address, size)
        return 0

    def _smaller(self, address: int, size: int) -> int:
        """Half of it, up to the end of a page; 0 when there is no smaller part."""
        end = address + size // 2
        end = -(-end // self._page_bytes) * self._page_bytes
        return end - address if end - address < size else 0

    def read_bytes(self, address: int, size: int) -> bytes:
        """The same as bytes of their own. Raises and costs as `read`."""
        into = bytearray(size)
        count = self.read(address, memoryview(into))
        return bytes(into) if count == size else bytes(into[:count])

    def gather(self, ranges: Sequence[tuple[int, int]], into: memoryview) -> bool:
        """Never: the system reads one range in one call."""
        return False

    def resident(self, region: Region) -> Iterator[tuple[int, int]]:
        """The ranges that hold pages, ascending. What is mapped of files is given whole: its pages are in the file.

        Raises:
            Gone
        """
        if region.special:
            return
        if region.inode or not self._tells:
            yield region.start, region.end
            return
        for start in range(region.start, region.end, AT_ONCE * self._page_bytes):
            yield from self._there(start, min(region.end, start + AT_ONCE * self._page_bytes))

    def _there(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        try:
            pages = mach.pages(self._task, start, (end - start) // self._page_bytes, self._page_bytes)
        except Unsupported:
            pages = []
            self._tells = False
        except KernFailure as failed:
            if failed.code in VANISHED:
                raise translated(failed, self._pid) from None
            pages = []
        if len(pages) * self._page_bytes < end - start:
            yield start, end
            return
        at = start
        for there, group in groupby(pages):
            size = sum(1 for _ in group) * self._page_bytes
            if there:
                yield at, at + size
            at += size

    def check(self) -> None:
        """Looks whether the right is still one to the process that was opened.

        Raises:
            Gone, Mismatch
        """
        try:
            mach.region(self._task, 0, 0)
        except KernFailure as failed:
            if failed.code != mach.KERN_INVALID_ADDRESS:
                raise translated(failed, self._pid) from None
        self._check()
