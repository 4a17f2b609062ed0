"""Threads that read, hash and hand on memory, shared by all dumps of one run."""

import hashlib
import mmap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from msgspec import Struct

from hostscope.dumps.pieces import PiecePlan
from hostscope.errors import Incomplete
from hostscope.model.dump import Piece, Unread
from hostscope.model.gap import Reason

if TYPE_CHECKING:
    from hostscope.platforms.base import AddressSpace

BUFFER_BYTES = 1 << 20
"""Larger ones fall out of the processor's cache between reading, writing and hashing."""
PAGE_BYTES = 4096
Write = Callable[[memoryview, int], None]
"""Bytes and their address, ascending within a piece."""


class ReadPiece(Struct, frozen=True, gc=False):
    """What came of one piece."""

    plan: PiecePlan
    piece: Piece
    unread: tuple[Unread, ...]


class Rate:
    """At most so many bytes a second, of all threads together."""

    def __init__(self, bytes_per_second: int | None) -> None:
        self._rate = bytes_per_second
        self._free_at = monotonic()
        self._lock = threading.Lock()

    def wait(self, size: int, stop: threading.Event) -> None:
        """Returns when `size` more bytes may be read."""
        if self._rate is None:
            return
        with self._lock:
            begin = max(self._free_at, monotonic())
            self._free_at = begin + size / self._rate
        stop.wait(max(0.0, begin - monotonic()))

    @property
    def step_bytes(self) -> int:
        """How much to read at once: a twentieth of a second's."""
        if self._rate is None:
            return BUFFER_BYTES
        return max(PAGE_BYTES, min(BUFFER_BYTES, self._rate // 20 // PAGE_BYTES * PAGE_BYTES))


class Crew:
    """The threads, their buffers, and the one limit of speed."""

    def __init__(self, pool: ThreadPoolExecutor, threads: int, rate: Rate, hashing: bool) -> None:
        self.pool = pool
        self.threads = threads
        self.stop = threading.Event()
        self._rate = rate
        self._hashing = hashing
        self._buffers = threading.local()

    def read(self, space: "AddressSpace", plan: PiecePlan, write: Write) -> ReadPiece:
        """Reads one piece, in one of the threads.

        Raises:
            Gone: the process ended, or runs another program now.
            Incomplete: `stop` was set.
            OSError: from `write`.
        """
        digest = hashlib.sha256() if self._hashing else None
        unread: list[Unread] = []
        ranges: list[tuple[int, int]] = []
        for start, end in plan.runs:
            for address, content in self._run(space, start, end, unread):
                write(content, address)
                if digest:
                    digest.update(content)
                extend(ranges, address, address + len(content))
        done = sum(end - start for start, end in ranges)
        piece = Piece(plan.start, plan.end, done, tuple(ranges), digest.hexdigest() if digest else None)
        return ReadPiece(plan, piece, tuple(unread))

    def _run(
        self, space: "AddressSpace", start: int, end: int, unread: list[Unread]
    ) -> Iterator[tuple[int, memoryview]]:
        buffer, step = self._buffer(), self._rate.step_bytes
        while start < end:
            if self.stop.is_set():
                raise Incomplete("interrupted")
            size = min(step, end - start)
            self._rate.wait(size, self.stop)
            count = space.read(start, buffer[:size])
            if count:
                yield start, buffer[:count]
                start += count
            if count < size:
                after = min(start - start % PAGE_BYTES + PAGE_BYTES, end)
                note_unread(unread, start, after)
                start = after

    def _buffer(self) -> memoryview:
        if not hasattr(self._buffers, "own"):
            self._buffers.own = memoryview(mmap.mmap(-1, BUFFER_BYTES))
        own: memoryview = self._buffers.own
        return own


def extend(ranges: list[tuple[int, int]], start: int, end: int) -> None:
    """Adds a range after the others, as a part of the last one where it can be."""
    if ranges and ranges[-1][1] == start:
        start = ranges.pop()[0]
    ranges.append((start, end))


def note_unread(unread: list[Unread], start: int, end: int) -> None:
    """Adds a page that could not be read to the list, as a part of the last entry where it can be."""
    if unread and unread[-1].end == start:
        start = unread.pop().start
    unread.append(Unread(start, end, Reason.UNAVAILABLE, "the kernel gave no page (a guard, or past a file's end)"))


@contextmanager
def open_crew(threads: int, rate_bytes: int | None, hashing: bool) -> Iterator[Crew]:
    """A crew for one run. An interrupt inside the block stops its threads at their next buffer."""
    with ThreadPoolExecutor(threads, "reader") as pool:
        crew = Crew(pool, threads, Rate(rate_bytes), hashing)
        try:
            yield crew
        except BaseException:
            crew.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
