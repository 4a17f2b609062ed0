"""What differs between two looks at a process: its map and its threads. Pure: two looks in, bodies out."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from hostscope.model.event import MemoryChange, ThreadChange
from hostscope.model.memory import Region

START_OUTSIDE = "start-outside-modules"


class ThreadFacts(NamedTuple):
    """A thread as a look shows it."""

    created: int
    """FILETIME: with it a thread id means one thread only."""
    start_address: int | None


def memory_changes(name: str, before: Iterable[Region], after: Iterable[Region]) -> Iterator[MemoryChange]:
    """Committed memory that appeared, went away, or has other permissions, in the order of addresses.

    Windows tells neighbours that are alike as one region, so what is compared are the parts that two looks share.
    """
    old = {(region.start, region.end): region for region in before if region.state == "committed"}
    new = {(region.start, region.end): region for region in after if region.state == "committed"}
    same = {span for span in old.keys() & new.keys() if _is_same(old[span], new[span])}
    olds, news = (_Covering(one for span, one in each.items() if span not in same) for each in (old, new))
    found = [change for now in news for change in _changes_within(name, now, olds)]
    for was in olds:
        gaps = _gaps(was, [(one.start, one.end) for one in news.over(was.start, was.end)])
        found += [_change(name, "unmapped", replace(was, start=start, end=end), None, was) for start, end in gaps]
    yield from sorted(found, key=lambda change: (change.start, change.what != "unmapped"))


def _is_same(was: Region, now: Region) -> bool:
    return was.permissions == now.permissions and _is_of_same_memory(was, now)


def _is_of_same_memory(was: Region, now: Region) -> bool:
    """Not so: one was unmapped, and the other put in its place."""
    return (was.kind, was.allocation) == (now.kind, now.allocation)


def _changes_within(name: str, now: Region, olds: "_Covering") -> Iterator[MemoryChange]:
    """Of each part of a region against what was there."""
    spans = []
    for was in olds.over(now.start, now.end):
        start, end = max(was.start, now.start), min(was.end, now.end)
        spans.append((start, end))
        part, former = replace(now, start=start, end=end), replace(was, start=start, end=end)
        if not _is_of_same_memory(was, now):
            yield _change(name, "unmapped", former, None, was)
            yield _change(name, "mapped", None, part, None)
        elif was.permissions != now.permissions:
            yield _change(name, "protected", former, part, was)
    for start, end in _gaps(now, spans):
        yield _change(name, "mapped", None, replace(now, start=start, end=end), None)


def _gaps(region: Region, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What ascending spans leave of a region."""
    at = region.start
    for start, end in spans:
        if at < start:
            yield at, start
        at = max(at, end)
    if at < region.end:
        yield at, region.end


class _Covering:
    """Regions by any address in them."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._regions = sorted(regions, key=lambda region: region.start)
        self._starts = [region.start for region in self._regions]

    def __iter__(self) -> Iterator[Region]:
        return iter(self._regions)

    def at(self, address: int) -> Region | None:
        return next(self.over(address, address + 1), None)

    def over(self, start: int, end: int) -> Iterator[Region]:
        """Those that have an address of the range, ascending."""
        place = max(0, bisect_right(self._starts, start) - 1)
        while place < len(self._regions) and self._starts[place] < end:
            if start < self._regions[place].end:
                yield self._regions[place]
            place += 1


def _change(name: str, what: str, was: Region | None, now: Region | None, origin: Region | None) -> MemoryChange:
    region = now or was
    if region is None:
        raise ValueError("a change of nothing")
    return MemoryChange(
        name=name,
        what=what,
        start=region.start,
        end=region.end,
        before=origin.permissions if origin else None,
        after=now.permissions if now else None,
        kind=region.kind,
        path=region.path,
        flags=tuple(_flags(origin, now)),
    )


def _flags(was: Region | None, now: Region | None) -> Iterator[str]:
    """As for the calls that do it; image pages that copy when they are written do not count as writable."""
    if now is None or "x" not in now.permissions:
        return
    if was is not None and "w" in was.permissions and "x" not in was.permissions:
        yield "w-to-x"
    if not now.has_file:
        yield "executable-anonymous"
    if "w" in now.permissions and "writecopy" not in now.flags:
        yield "writable-executable"


def thread_changes(
    name: str, before: Mapping[int, ThreadFacts], after: Mapping[int, ThreadFacts], regions: Iterable[Region]
) -> Iterator[ThreadChange]:
    """Threads that began and ended, with the file in which the new ones began."""
    covering = _Covering(regions)
    for tid in sorted(before.keys() | after.keys()):
        was, now = before.get(tid), after.get(tid)
        same = was is not None and now is not None and was.created == now.created
        if was is not None and not same:
            yield ThreadChange(name, tid, False)
        if now is not None and not same:
            yield started(name, tid, now.start_address, covering.at(now.start_address or 0))


def started(name: str, tid: int, address: int | None, region: Region | None) -> ThreadChange:
    """A thread that began, and what is remarkable about where."""
    outside = address is not None and not (region is not None and region.kind == "image")
    flags = (START_OUTSIDE,) if outside else ()
    return ThreadChange(name, tid, True, address, region.path if region else None, flags=flags)
