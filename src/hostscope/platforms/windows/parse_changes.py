"""What differs between two looks at a process: its map and its threads. Pure: two looks in, bodies out."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from hostscope.model.event import MemoryChange, ThreadChange
from hostscope.model.memory import Region

START_OUTSIDE = "start-outside-modules"


class ThreadFacts(NamedTuple):
    """A thread as a look shows it."""

    created: int
    """FILETIME: with it a thread id means one thread only."""
    start_address: int | None


def memory_changes(name: str, before: Iterable[Region], after: Iterable[Region]) -> Iterator[MemoryChange]:
    """Committed regions that appeared, went away, or have other permissions, in the order of addresses."""
    old = {(region.start, region.end): region for region in before if region.state == "committed"}
    new = {(region.start, region.end): region for region in after if region.state == "committed"}
    covered = _Covering(old.values())
    for span in sorted(old.keys() | new.keys()):
        was, now = old.get(span), new.get(span)
        if was is not None and now is not None:
            if was.permissions != now.permissions:
                yield _change(name, "protected", was, now, was)
        elif now is not None:
            origin = covered.at(now.start)
            if origin is None:
                yield _change(name, "mapped", None, now, None)
            elif origin.permissions != now.permissions:
                yield _change(name, "protected", origin, now, origin)
        elif was is not None and not any(region.start < was.end and was.start < region.end for region in new.values()):
            yield _change(name, "unmapped", was, None, was)


class _Covering:
    """Regions by any address in them."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._regions = sorted(regions, key=lambda region: region.start)

    def at(self, address: int) -> Region | None:
        from bisect import bisect_right

        place = bisect_right(self._regions, address, key=lambda region: region.start) - 1
        return self._regions[place] if place >= 0 and address < self._regions[place].end else None


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
