"""Threads that read, hash and hand on memory, shared by all dumps of one run."""

import hashlib
import mmap
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hostscope.dumps.patience import PATIENCE_S, STALLED, Hands, open_hands
from hostscope.dumps.pieces import PiecePlan, Range, gathered
from hostscope.errors import Incomplete
from hostscope.model.dump import Piece, Unread
from hostscope.model.gap import Reason

if TYPE_CHECKING:
    from hostscope.platforms.base_memory import AddressSpace

BUFFER_BYTES = 1 << 20
"""Larger ones fall out of the processor's cache between reading, writing and hashing."""
PAGE_BYTES = 4096
MOST_STALLS = 8
"""Regions of one process that may keep us waiting; after them nothing more of it is asked for."""
NO_PAGE = "the kernel gave no page (a guard, or past a file's end)"
NO_ANSWER = f"no answer in {PATIENCE_S:.0f} s: its pages come from somebody else (userfaultfd, a file server)"
NOT_ASKED = "not asked for: what was asked for before of this region, or of several others, got no answer"
Write = Callable[[Sequence[Range], memoryview], None]
"""Where bytes come from, ascending within a piece; and the bytes of all these ranges, one behind the other."""


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

    def __init__(self, hands: Hands, threads: int, rate: Rate, hashing: bool) -> None:
        self.hands = hands
        self.threads = threads
        self._rate = rate
        self.hashing = hashing
        """Whether what is read is hashed."""
        self._buffers: list[memoryview] = []
        self._stalls: dict[object, set[int]] = {}

    @property
    def stop(self) -> threading.Event:
        """Set when all is to end."""
        return self.hands.stop

    def read(
        self, space: "AddressSpace", plan: PiecePlan, write: Write
    ) -> Generator[Callable[[], int], Any, ReadPiece]:
        """Reads one piece, as work for `Hands`.

        Raises:
            Gone: the process ended, or runs another program now.
            Incomplete: `stop` was set.
            OSError: from `write`.
        """
        kept, unread = _Kept(write, self.hashing), list[Unread]()
        for group in gathered(plan.runs, self._rate.step_bytes):
            whole = len(group) > 1 and (yield from self._group(space, plan.region, group, kept, unread))
            for run in () if whole else group:
                yield from self._run(space, plan.region, run, kept, unread)
        piece = Piece(plan.start, plan.end, kept.size_bytes, tuple(kept.ranges), kept.digest())
        return ReadPiece(plan, piece, tuple(unread))

    def _group(
        self, space: "AddressSpace", region: int, group: Sequence[Range], kept: "_Kept", unread: list[Unread]
    ) -> Generator[Callable[[], bool], Any, bool]:
        """Reads many short runs in one call; whether nothing is left to be said of them."""
        if self._give_up(space, region):
            return False
        size = sum(end - start for start, end in group)
        self._rate.wait(size, self.stop)
        buffer = self._buffer()
        whole = yield partial(space.gather, group, buffer[:size])
        if whole is STALLED:
            self._stalled(space, region)
            for start, end in group:
                note_unread(unread, start, end, NO_ANSWER)
            return True
        if whole:
            kept.add(group, buffer[:size])
        self._buffers.append(buffer)
        return bool(whole)

    def _run(
        self, space: "AddressSpace", region: int, run: Range, kept: "_Kept", unread: list[Unread]
    ) -> Generator[Callable[[], int], Any, None]:
        buffer, step = self._buffer(), self._rate.step_bytes
        start, end = run
        while start < end:
            if self._give_up(space, region):
                note_unread(unread, start, end, NOT_ASKED)
                break
            size = min(step, end - start)
            self._rate.wait(size, self.stop)
            count = yield partial(space.read, start, buffer[:size])
            if count is STALLED:  # the buffer stays with the thread that waits
                self._stalled(space, region)
                note_unread(unread, start, end, NO_ANSWER)
                return
            if count:
                kept.add(((start, start + count),), buffer[:count])
                start += count
            if count < size:
                after = min(start - start % PAGE_BYTES + PAGE_BYTES, end)
                note_unread(unread, start, after, NO_PAGE)
                start = after
        self._buffers.append(buffer)

    def _give_up(self, space: "AddressSpace", region: int) -> bool:
        """Whether a region is not to be asked for any more. Raises Incomplete when all is to end."""
        if self.stop.is_set():
            raise Incomplete("interrupted")
        stalls = self._stalls.get(space, ())
        return region in stalls or len(stalls) >= MOST_STALLS

    def _stalled(self, space: "AddressSpace", region: int) -> None:
        self._stalls.setdefault(space, set()).add(region)

    def _buffer(self) -> memoryview:
        try:
            return self._buffers.pop()
        except IndexError:
            return memoryview(mmap.mmap(-1, BUFFER_BYTES))


class _Kept:
    """What was read of a piece, handed on as it came."""

    def __init__(self, write: Write, hashing: bool) -> None:
        self.ranges: list[Range] = []
        self.size_bytes = 0
        self._write = write
        self._digest = hashlib.sha256() if hashing else None

    def add(self, runs: Sequence[Range], content: memoryview) -> None:
        """Runs that stand one behind the other in `content`. Raises OSError."""
        self._write(runs, content)
        for start, end in runs:
            extend(self.ranges, start, end)
        if self._digest:
            self._digest.update(content)
        self.size_bytes += len(content)

    def digest(self) -> str | None:
        """Of all that was added."""
        return self._digest.hexdigest() if self._digest else None


def extend(ranges: list[Range], start: int, end: int) -> None:
    """Adds a range after the others, as a part of the last one where it can be."""
    if ranges and ranges[-1][1] == start:
        start = ranges.pop()[0]
    ranges.append((start, end))


def note_unread(unread: list[Unread], start: int, end: int, why: str) -> None:
    """Adds addresses that could not be read to the list, as a part of the last entry where it can be."""
    if unread and unread[-1].end == start and unread[-1].detail == why:
        start = unread.pop().start
    unread.append(Unread(start, end, Reason.UNAVAILABLE, why))


@contextmanager
def open_crew(
    threads: int, rate_bytes: int | None, hashing: bool, begin: Callable[[], None] = lambda: None
) -> Iterator[Crew]:
    """A crew for one run. An interrupt inside the block stops its threads at their next buffer.

    Args:
        begin: what each thread does first.
    """
    with open_hands(threads, begin) as hands:
        yield Crew(hands, threads, Rate(rate_bytes), hashing)
