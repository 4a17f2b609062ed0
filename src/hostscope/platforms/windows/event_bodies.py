"""Events of the kernel's provider as records: names and identities of the processes that they are about."""

from collections.abc import Callable, Iterator

from hostscope.model.event import Body, ImageLoad, ProcessExec, ProcessExit, ProcessStart, ThreadChange
from hostscope.model.key import ProcessKey
from hostscope.platforms.windows.clock import TICK_NS, Boot
from hostscope.platforms.windows.parse_etw import EtwRecord
from hostscope.platforms.windows.parse_etw_process import (
    IMAGE_LOAD,
    THREAD_START,
    ImageEvent,
    Parsed,
    Started,
    Stopped,
    ThreadEvent,
)
from hostscope.platforms.windows.parse_memory import by_drive
from hostscope.platforms.windows.process_list import read_processes

MOST_KNOWN = 65_536
MOST_ANCESTORS = 16
_SIGNED = 1 << 31
Known = tuple[ProcessKey, str, int | None]
"""Key, name, and the parent's pid."""
Told = tuple[ProcessKey | None, Body]


class Bodies:
    """Knows who is who while events pass."""

    def __init__(
        self,
        boot: Boot,
        kinds: frozenset[str],
        argv: Callable[[ProcessKey], tuple[str, ...] | None],
        drives: dict[str, str],
    ) -> None:
        self._boot, self._kinds, self._argv, self._drives = boot, kinds, argv, drives
        self._known: dict[int, Known] = {}
        self._newborn: set[int] = set()
        """Pids whose first thread has not been told of yet."""

    def seed(self) -> None:
        """Takes in who is there already."""
        for listed in read_processes():
            if listed.created is not None:
                self._known[listed.pid] = (self._boot.key(listed.pid, listed.created), listed.name, listed.ppid)

    def of(self, record: EtwRecord, parsed: Parsed) -> Iterator[Told]:
        """What an event tells, as far as its kind was asked for."""
        if isinstance(parsed, Started):
            yield from self._started(parsed)
        elif isinstance(parsed, Stopped):
            yield from self._stopped(parsed)
        elif isinstance(parsed, ThreadEvent):
            yield self._thread(record, parsed, record.id == THREAD_START)
        else:
            yield self._image(parsed, record.id == IMAGE_LOAD)

    def _started(self, found: Started) -> Iterator[Told]:
        key = self._boot.key(found.pid, found.created)
        path = by_drive(found.image, self._drives)
        name = path.rpartition("\\")[2] or path
        parent = self._known.get(found.parent)
        self._take(found.pid, (key, name, found.parent))
        self._newborn.add(found.pid)
        above, ancestry = parent[0] if parent else None, self._ancestry(found.parent)
        if "start" in self._kinds:
            yield key, ProcessStart(name, above, ancestry, pid=found.pid)
        if "exec" in self._kinds:
            yield key, ProcessExec(name, path, self._argv(key), parent=above, ancestry=ancestry, pid=found.pid)

    def _stopped(self, found: Stopped) -> Iterator[Told]:
        key = self._boot.key(found.pid, found.created)
        known = self._known.get(found.pid)
        name = found.image
        self._newborn.discard(found.pid)
        if known is not None and known[0].same(key):
            name = known[1]
            del self._known[found.pid]
        if "exit" in self._kinds:
            code = found.code - (1 << 32) if found.code >= _SIGNED else found.code
            yield (
                key,
                ProcessExit(name, code, None, run_ns=(found.exited - found.created) * TICK_NS, pid=found.pid),
            )

    def _thread(self, record: EtwRecord, found: ThreadEvent, started: bool) -> Told:
        """Of a new thread the event is logged by the one who made it."""
        known = self._known.get(found.pid)
        by = record.pid if started else None
        flags = ("remote",) if started and self._is_remote(found.pid, record.pid) else ()
        start = found.start_address if started else None
        name = known[1] if known else ""
        return known[0] if known else None, ThreadChange(name, found.tid, started, start, None, by, flags)

    def _is_remote(self, pid: int, by: int) -> bool:
        """Whether another process made it; the first thread of a process always is its parent's."""
        first = pid in self._newborn
        self._newborn.discard(pid)
        return by != pid and not first

    def _image(self, found: ImageEvent, loaded: bool) -> Told:
        known = self._known.get(found.pid)
        path = by_drive(found.path, self._drives)
        return known[0] if known else None, ImageLoad(
            known[1] if known else "", path, found.base, found.size_bytes, loaded
        )

    def _ancestry(self, pid: int) -> tuple[str, ...]:
        names: list[str] = []
        while (known := self._known.get(pid)) is not None and len(names) < MOST_ANCESTORS:
            names.append(known[1])
            if known[2] is None or known[2] == pid:
                break
            above = self._known.get(known[2])
            if above is None or above[0].start > known[0].start:  # that pid is another process's now
                break
            pid = known[2]
        return tuple(names)

    def _take(self, pid: int, known: Known) -> None:
        self._known[pid] = known
        if len(self._known) > MOST_KNOWN:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._newborn.discard(oldest)
