"""The memory of one process, through one handle of it."""

from collections.abc import Iterator, Sequence

from hostscope.errors import Denied, Gone, NativeError
from hostscope.model.memory import Region
from hostscope.platforms.windows.native import control, memory
from hostscope.platforms.windows.native.library import last_error
from hostscope.platforms.windows.parse_memory import runs

PAGE_BYTES = 4096
_AT_ONCE = 4096
"""Pages that are asked about at once."""
_RESIDENT = 1


class AddressSpace:
    """Implements `hostscope.platforms.base_memory.AddressSpace`. May be used by several threads.

    A handle means one process for good, and a process runs one program for good, so nothing has to be compared after
    reading: what the handle reads is that process's, or there is nothing.

    Pages that were never touched cannot be told from those in the page file, so all committed memory is read; Windows
    then gives untouched pages to the process, zeroed, as if it had read them itself.
    """

    auxiliary_vector = b""
    """There is none on Windows."""

    def __init__(self, process: int, pid: int, method: str = "ReadProcessMemory") -> None:
        """`process` is a handle, the caller's to close."""
        self._process = process
        self._pid = pid
        self._method = method

    @property
    def method(self) -> str:
        """How memory is read."""
        return f"{self._method}, every committed page"

    def read(self, address: int, into: memoryview) -> int:
        """Reads up to ``len(into)`` bytes; how many there were from `address` on before the first unreadable page.

        Raises:
            Gone: the process ended.

        Source: ReadProcessMemory, which gives all or (ERROR_PARTIAL_COPY) less.
        Cost: one system call; a dozen for each page that cannot be read.
        """
        count = memory.read_into(self._process, address, into)
        if count < len(into):
            code = last_error()
            count += self._rest(address + count, into[count:])
            if count < len(into):
                self._check_alive(code)
        return count

    def read_bytes(self, address: int, size: int) -> bytes:
        """The same as bytes of their own. Raises and costs as `read`."""
        into = bytearray(size)
        return bytes(memoryview(into)[: self.read(address, memoryview(into))])

    def gather(self, ranges: Sequence[tuple[int, int]], into: memoryview) -> bool:
        """Never: the system reads one range in one call."""
        return False

    def resident(self, region: Region) -> Iterator[tuple[int, int]]:
        """What can be read of a region: all of it, or of files from a server only what is in memory.

        Raises:
            Gone
        """
        if region.state == "reserved" or region.guard:
            return
        if region.served_by is None:
            yield region.start, region.end
            return
        for start in range(region.start, region.end, _AT_ONCE * PAGE_BYTES):
            addresses = range(start, min(start + _AT_ONCE * PAGE_BYTES, region.end), PAGE_BYTES)
            try:
                pages = memory.working_set(self._process, addresses)
            except OSError as failed:
                raise NativeError("QueryWorkingSetEx", failed.errno or 0, failed.strerror or "") from failed
            yield from runs([bool(page & _RESIDENT) for page in pages], start, PAGE_BYTES)

    def check(self) -> None:
        """A process runs one program for good; of one that ended, each read was looked after."""

    def _rest(self, address: int, into: memoryview) -> int:
        """What there is up to the first page that cannot be read, found by halving."""
        done, step = 0, -(-len(into) // PAGE_BYTES) * PAGE_BYTES
        while step >= PAGE_BYTES and done < len(into):
            size = min(step - (address + done) % PAGE_BYTES, len(into) - done)
            count = memory.read_into(self._process, address + done, into[done : done + size])
            done += count
            step = step if count == size else step // 2 // PAGE_BYTES * PAGE_BYTES
        return done

    def _check_alive(self, code: int) -> None:
        """Whether a read failed because there is no process any more, or because a page has nothing to read."""
        try:
            ended = control.has_ended(self._process)
        except OSError:
            return  # the handle may not wait; then reads alone tell
        if ended:
            raise Gone(f"process {self._pid} has ended")
        if code == 5:  # ERROR_ACCESS_DENIED
            raise Denied(f"process {self._pid}: reading its memory is denied", "a protected process may not be read")
