"""Memory into a file: plain with holes, or as frames of zstd."""

import errno
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hostscope.dumps.layout import Layout
from hostscope.dumps.output import NewFile, unwritable
from hostscope.dumps.patience import Steps, answer_of
from hostscope.dumps.pieces import PiecePlan, Range, batch
from hostscope.dumps.reading import Crew, ReadPiece, Write
from hostscope.errors import Error, Incomplete, Unavailable

if TYPE_CHECKING:
    from hostscope.platforms.base_memory import AddressSpace

LEVEL = 1
"""Of zstd: higher ones are slower than disks."""
_ZEROS = bytes(1 << 20)
LONG_HOLE_BYTES = 64 << 20
"""Of so much the frame is made once."""
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG, errno.EIO})


class Written(Struct, frozen=True):
    """What came of writing an image."""

    pieces: tuple[ReadPiece, ...]
    size_bytes: int
    """Of the file."""
    failure: Error | None = None
    """What ended it early; the pieces before are there."""


def write_plain(
    file: NewFile, layout: Layout, starts: Sequence[int], plans: Iterable[PiecePlan], space: "AddressSpace", crew: Crew
) -> Written:
    """Every piece at its place, in no order; what is not written is a hole.

    Args:
        starts: the address of each region, by index.
    """

    turn = threading.Lock() if crew.hashing else nullcontext()

    def job(group: tuple[PiecePlan, ...]) -> Steps:
        came: list[ReadPiece] = []
        for plan in group:
            piece = yield from crew.read(space, plan, _writer(file, _shift(layout, starts, plan), turn))
            came += [piece]
        return came

    done: list[ReadPiece] = []
    futures: deque[Future[list[ReadPiece]]] = deque()
    try:
        file.write_at(layout.head, 0)
        futures.extend(crew.hands.submit(job(group)) for group in batch(plans))
        while futures:
            came = answer_of(futures.popleft())
            done += came
    except (OSError, Incomplete) as failed:
        _cancel(futures)
        return Written(tuple(done), layout.size_bytes, _failure(file.path, failed))
    except BaseException:  # the file is going to be closed
        crew.hands.abandon()
        _cancel(futures)
        raise
    return Written(tuple(done), layout.size_bytes)


def write_zstd(
    file: NewFile,
    layout: Layout,
    starts: Sequence[int],
    plans: Iterable[PiecePlan],
    space: "AddressSpace",
    crew: Crew,
    window: int,
) -> Written:
    """The same bytes as zstd frames, one for each piece, compressed by the threads and written in order.

    Args:
        window: pieces that may be held in memory.
    """
    import zstandard

    def job(plan: PiecePlan) -> Steps:
        frame = _Frame(plan.start)
        read = yield from crew.read(space, plan, frame.write)
        return read, frame.finish(plan.end)

    done: list[ReadPiece] = []
    end = 0
    ordered = iter(sorted(plans, key=lambda plan: (plan.region, plan.start)))
    waiting: deque[Future[tuple[ReadPiece, bytes]]] = deque()
    try:
        head = zstandard.ZstdCompressor(LEVEL).compress(_padded(layout))
        file.write_at(head, 0)
        end = len(head)
        while len(waiting) < window and (plan := next(ordered, None)):
            waiting.append(crew.hands.submit(job(plan)))
        while waiting:
            read, frame = answer_of(waiting.popleft())
            if plan := next(ordered, None):
                waiting.append(crew.hands.submit(job(plan)))
            file.write_at(frame, end)
            end += len(frame)
            done.append(read)
    except (OSError, Incomplete) as failed:
        _cancel(waiting)
        return Written(tuple(done), end, _failure(file.path, failed))
    except BaseException:
        crew.hands.abandon()
        _cancel(waiting)
        raise
    return Written(tuple(done), end)


def _padded(layout: Layout) -> bytes:
    """What stands before the first region."""
    first = min((offset for offset in layout.offsets if offset is not None), default=layout.size_bytes)
    return layout.head.ljust(first, b"\0")


def _writer(file: NewFile, shift: int, turn: AbstractContextManager[object]) -> Write:
    """Writes bytes of an address at the address plus `shift`.

    File systems take one write to a file at a time, and who waits inside them spins: that is the quickest way to the
    next write, but takes a processor from another thread's hashing. Such threads wait for their `turn` out here.
    """

    def write(runs: Sequence[Range], content: memoryview) -> None:
        at = 0
        with turn:
            for start, end in runs:
                file.reserve(start + shift, end - start)
                behind = at + end - start
                file.write_at(content[at:behind], start + shift)
                at = behind

    return write


def _shift(layout: Layout, starts: Sequence[int], plan: PiecePlan) -> int:
    offset = layout.offsets[plan.region]
    if offset is None:
        raise ValueError("a piece of a region that is left out")
    return offset - starts[plan.region]


def _cancel(futures: Iterable[Future[Any]]) -> None:
    """Ends the jobs that have not begun, and waits for those that have: they use the file."""
    running = [future for future in futures if not future.cancel()]
    wait(running)


def _failure(path: str, failed: Exception) -> Error:
    if isinstance(failed, Error):
        return failed
    if isinstance(failed, OSError) and failed.errno in _FULL:
        return Unavailable(f"{path}: {failed.strerror}", "write elsewhere, or compress (--compress zstd)")
    return unwritable(path, failed) if isinstance(failed, OSError) else Error(str(failed))


class _Frame:
    """One zstd frame of a piece, holes included."""

    def __init__(self, start: int) -> None:
        self._to = _compressor()
        self._at = start
        self._parts: list[bytes] = []

    def write(self, runs: Sequence[Range], content: memoryview) -> None:
        at = 0
        for start, end in runs:
            self._fill(start)
            self._parts.append(self._to.compress(content[at : at + end - start]))
            at += end - start
            self._at = end

    def finish(self, end: int) -> bytes:
        self._fill(end)
        return b"".join([*self._parts, self._to.flush()])

    def _fill(self, address: int) -> None:
        if count := (address - self._at) // LONG_HOLE_BYTES:
            self._parts += [self._to.flush(), _frame_of_zeros(LONG_HOLE_BYTES) * count]
            self._to = _compressor()
            self._at += count * LONG_HOLE_BYTES
        while self._at < address:
            size = min(len(_ZEROS), address - self._at)
            self._parts.append(self._to.compress(_ZEROS[:size]))
            self._at += size


def _compressor() -> Any:
    import zstandard

    return zstandard.ZstdCompressor(LEVEL).compressobj()


@cache
def _frame_of_zeros(size: int) -> bytes:
    to = _compressor()
    return b"".join([*(to.compress(_ZEROS) for _ in range(size // len(_ZEROS))), to.flush()])
