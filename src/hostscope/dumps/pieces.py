"""Regions cut into pieces that are read, hashed and written on their own, by several threads."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from hostscope.model.dump import Unread
from hostscope.model.gap import Reason
from hostscope.model.memory import Region

PIECE_BYTES = 8 << 20
"""Of one piece, without holes; and of one batch of small ones."""
MOST_GATHERED = 256
"""Runs that are read in one call: systems have a limit (UIO_MAXIOV is 1,024), and each costs its lines of Python."""
Range = tuple[int, int]


class PiecePlan(Struct, frozen=True, gc=False):
    """A part of a region, and what is to be read of it."""

    region: int
    """Index of the region."""
    start: int
    end: int
    runs: tuple[Range, ...]
    """Ascending; what lies between them was never touched."""

    @property
    def size_bytes(self) -> int:
        """To be read."""
        return sum(end - start for start, end in self.runs)


class Budget:
    """Bytes that may still be read, of all regions and of one."""

    def __init__(self, most: int | None, most_of_region: int | None) -> None:
        self._left = most
        self._of_region = most_of_region

    def take(self, start: int, end: int, runs: Iterable[Range]) -> tuple[list[Range], list[Unread]]:
        """The runs that fit, and what is cut off of the region ``[start, end)``."""
        region = self._of_region
        if self._left is None and region is None:
            return list(runs), []
        fits: list[Range] = []
        for first, last in runs:
            limits = [(left, why) for left, why in ((region, _OF_REGION), (self._left, _OF_DUMP)) if left is not None]
            left, why = min(limits, default=(last - first, ""))
            size = min(last - first, left)
            if size:
                fits.append((first, first + size))
            region = None if region is None else region - size
            self._left = None if self._left is None else self._left - size
            if size < last - first:
                return fits, [Unread(first + size, end, Reason.TRUNCATED, why)]
        return fits, []


def between(start: int, end: int, runs: Iterable[Range]) -> Iterator[Range]:
    """What the runs leave of ``[start, end)``."""
    for first, last in runs:
        if start < first:
            yield start, first
        start = last
    if start < end:
        yield start, end


def not_asked(region: Region, runs: Iterable[Range]) -> Iterator[Unread]:
    """What the process has not mapped of memory that somebody else would have to give."""
    if region.served_by:
        why = f"not mapped by the process: {region.served_by} was not asked, which may never answer, or take memory"
        for start, end in between(region.start, region.end, runs):
            yield Unread(start, end, Reason.UNAVAILABLE, why)


_OF_REGION, _OF_DUMP = "the limit for one region (--max-region-bytes)", "the limit for the dump (--max-bytes)"


def cut(index: int, start: int, end: int, runs: Iterable[Range]) -> Iterator[PiecePlan]:
    """The pieces of one region; together they cover it without gaps, and each holds at most `PIECE_BYTES`."""
    held: list[Range] = []
    size = 0
    for run in runs:
        first, last = run
        while last - first > PIECE_BYTES - size:
            middle = first + PIECE_BYTES - size
            yield PiecePlan(index, start, middle, (*held, (first, middle)) if first < middle else tuple(held))
            held, size, start, first = [], 0, middle, middle
        if first < last:
            held.append((first, last))
            size += last - first
    if held or start < end:
        yield PiecePlan(index, start, end, tuple(held))


def gathered(runs: Iterable[Range], size_bytes: int) -> Iterator[tuple[Range, ...]]:
    """Runs in groups of up to `size_bytes` that are read in one call; longer ones stand alone."""
    group: list[Range] = []
    size = 0
    for run in runs:
        length = run[1] - run[0]
        if group and (size + length > size_bytes or len(group) == MOST_GATHERED):
            yield tuple(group)
            group, size = [], 0
        group.append(run)
        size += length
    if group:
        yield tuple(group)


def batch(pieces: Iterable[PiecePlan]) -> Iterator[tuple[PiecePlan, ...]]:
    """Pieces in groups of about `PIECE_BYTES`, so that many small regions are not as many jobs."""
    group: list[PiecePlan] = []
    size = 0
    for piece in pieces:
        if group and size + piece.size_bytes > PIECE_BYTES:
            yield tuple(group)
            group, size = [], 0
        group.append(piece)
        size += piece.size_bytes
    if group:
        yield tuple(group)
