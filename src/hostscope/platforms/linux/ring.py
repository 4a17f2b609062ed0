"""The reading end of a BPF ring buffer (Linux 5.8; Documentation/bpf/ringbuf.rst).

The programs' side never waits for us: when the ring is full, a reservation fails, and the program counts the loss in a
variable of its own. Records come in the order of their reservation. The kernel maps the data twice in a row, so that
none is ever broken at the end of the ring.
"""

import mmap
import select
import time
from threading import Lock

from hostscope.errors import Unavailable

HEADER_BYTES = 8
"""What the kernel puts before each record: its length and two flags, and where its page is."""
READ_BYTES = 1 << 22
"""As much as one call copies at most, unless it says otherwise."""

_BUSY, _DISCARDED = 1 << 31, 1 << 30
_LENGTH = _DISCARDED - 1
_BUSY_POLL_S = 0.001


class Ring:
    """One ring. One reader at a time."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        """`fd` is the map's, and stays the caller's; `size_bytes` its max_entries. Raises `OSError`."""
        page = mmap.PAGESIZE
        self._fd, self.size_bytes, self._data_at = fd, size_bytes, page
        self._ours = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        try:
            self._theirs = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        except BaseException:
            self._ours.close()
            raise
        self._consumer = memoryview(self._ours).cast("Q")
        self._producer = memoryview(self._theirs)[:page].cast("Q")
        self._data = memoryview(self._theirs)[page:]
        self._words = self._data.cast("I")
        self._fence = Lock()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def fileno(self) -> int:
        """For poll and epoll: readable when there are records."""
        return self._fd

    @property
    def pending_bytes(self) -> int:
        """What waits in the ring, headers and unfinished records included."""
        return self._producer[0] - self._consumer[0]

    def wait(self, timeout_s: float) -> bool:
        """Sleeps until there is a record or the time is over; whether there is one.

        A program that submits with BPF_RB_NO_WAKEUP wakes nobody: then this returns at once when something is there,
        else after the whole time.
        """
        end = time.monotonic() + timeout_s
        while self._poll.poll(max(0.0, end - time.monotonic()) * 1000):
            position = self._consumer[0]
            if self._producer[0] != position and not self._header(position) & _BUSY:
                return True
            if time.monotonic() >= end:  # a program sleeps between reserving and submitting: poll does not see that
                return False
            time.sleep(_BUSY_POLL_S)
        return False

    def read(self, most_bytes: int = READ_BYTES) -> list[bytes]:
        """The oldest records, up to about `most_bytes`, and makes room for as many. Never waits; empty when there are
        none. Cost: no system call, 0.4 us a record."""
        position, end = self._bounds(most_bytes)
        start, found = position, []
        mask, at, theirs = self.size_bytes - 1, self._data_at + HEADER_BYTES, self._theirs
        words = self._words
        while position < end:
            header = words[(position & mask) >> 2]
            if header & _BUSY:
                break
            length = header & _LENGTH
            if not header & _DISCARDED:
                begin = (position & mask) + at
                found.append(theirs[begin : begin + length])
            position += (length + HEADER_BYTES + 7) & ~7
        self._release(start, position)
        return found

    def _header(self, position: int) -> int:
        return self._words[(position & (self.size_bytes - 1)) >> 2]

    def _bounds(self, most_bytes: int) -> tuple[int, int]:
        start, end = self._consumer[0], self._producer[0]
        self._order()
        return start, min(end, start + min(most_bytes, self.size_bytes))

    def _release(self, start: int, position: int) -> None:
        """Gives the programs the room of what was read."""
        if position > self._producer[0]:
            raise Unavailable("the ring's records do not end where its producer stands")
        if position != start:
            self._order()
            self._consumer[0] = position

    def _order(self) -> None:
        """What was read before stays before what comes next, for the kernel on another CPU. x86 needs nothing for it;
        on arm64 it takes a release that an acquire of the same word follows, which a lock does twice over."""
        with self._fence:
            pass
        with self._fence:
            pass

    def close(self) -> None:
        """Lets go of the memory; the map stays."""
        for view in (self._words, self._data, self._producer, self._consumer):
            view.release()
        self._theirs.close()
        self._ours.close()
