"""Who started whom, kept after the parent is gone: a bounded table that follows forks, execs and exits.

A process's ancestry is fixed when it is forked, so nothing has to be kept for the sake of its children, and nobody can
hide by ending its parents one after the other.
"""

from collections.abc import Iterable
from typing import NamedTuple

from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.platforms.linux.clock import TICK_NS

DEEPEST = 32
"""Names of an ancestry."""
MOST = 131_072
"""Processes; then the one that was heard of first is forgotten."""

RECENT = 8192
"""Processes that ended last, which are remembered for a little while."""


class Known(NamedTuple):
    """What is known of a process."""

    key: ProcessKey
    name: str
    parent: ProcessKey | None = None
    """As it was at first: an orphan's new parent is not its own."""
    ancestry: tuple[str, ...] = ()
    """Names, parent first."""


class Lineage:
    """Living processes by pid."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: dict[int, Known] = {}
        self._ended: dict[tuple[ProcessKey, int], Known | None] = {}
        self._last: dict[int, Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def seed(self, processes: Iterable[Process]) -> None:
        """Takes in what a sweep found, for those that are not known yet."""
        rows = {process.key.pid: process for process in processes}
        for process in rows.values():
            if process.key.pid not in self._known:
                parent = rows.get(process.ppid or 0)
                names = tuple(_ancestors(process, rows))
                self._keep(Known(process.key, process.name, parent.key if parent else None, names))

    def get(self, key: ProcessKey) -> Known | None:
        """What is known of this very process."""
        known = self._known.get(key.pid)
        return known if known is not None and known.key.start == key.start else None

    def at(self, pid: int, at_ns: int) -> Known | None:
        """What is known of the process that had a pid at a moment since boot, not long ago."""
        for known in (self._known.get(pid), self._last.get(pid)):
            if known is not None and known.key.start * TICK_NS <= at_ns:
                return known
        return None

    def unknown(self, pid: int) -> None:
        """Another process has the pid now, of which nothing can be known."""
        self._known.pop(pid, None)
        self._last.pop(pid, None)

    def forked(self, key: ProcessKey, name: str, parent: ProcessKey | None) -> Known:
        """A new process; `name` is its parent's still."""
        above = self.get(parent) if parent else None
        return self._keep(Known(key, name, parent, names_of(above)))

    def named(self, key: ProcessKey, name: str, parent: ProcessKey | None) -> Known:
        """A process runs another program; one whose start was missed is taken in with the parent it has now."""
        known = self.get(key)
        if known is None:
            return self.forked(key, name, parent)
        renamed = self._known[key.pid] = known._replace(name=name)
        return renamed

    def ended(self, key: ProcessKey, start_ns: int = 0) -> bool:
        """Forgets a process; False when it had been told to have ended not long ago.

        Args:
            start_ns: tells apart two that had the same pid within one tick of the clock.
        """
        if (key, start_ns) in self._ended:
            return False
        known = self._ended[key, start_ns] = self.get(key)
        if known is not None:
            self._last[key.pid] = self._known.pop(key.pid)
        if len(self._ended) > RECENT:
            oldest = next(iter(self._ended))
            gone = self._ended.pop(oldest)
            if gone is not None and self._last.get(gone.key.pid) is gone:
                del self._last[gone.key.pid]
        return True

    def _keep(self, known: Known) -> Known:
        self._known.pop(known.key.pid, None)  # so that the order is of arrival
        self._known[known.key.pid] = known
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return known


def names_of(parent: Known | None) -> tuple[str, ...]:
    """The ancestry of a process that this one starts."""
    return (parent.name, *parent.ancestry)[:DEEPEST] if parent else ()


def _ancestors(process: Process, rows: dict[int, Process]) -> Iterable[str]:
    for _ in range(DEEPEST):
        above = rows.get(process.ppid or 0)
        if above is None or above is process:
            return
        yield above.name
        process = above
