"""Who a pid is at the moment of an event: listed processes, and starts as the kernel tells them."""

from collections.abc import Callable, Iterable
from time import monotonic

from msgspec import Struct

from hostscope.errors import Error
from hostscope.model.key import ProcessKey
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.parse_etw_process import Started
from hostscope.platforms.windows.parse_processes import Listed

LIST_S = 0.2
"""Processes are listed again for pids that are not known at most this often."""
MOST_PROCESSES = 65_536
NOBODY = frozenset({0, 0xFFFF_FFFF})
"""What the kernel writes where it knows no process."""


class Person(Struct, frozen=True, gc=False):
    """A process, also one that has ended."""

    key: ProcessKey
    name: str


class People:
    """Processes by pid; a start of another one with the same pid replaces it."""

    def __init__(self, boot: Boot, listed: Callable[[], Iterable[Listed]]) -> None:
        self._boot, self._listed = boot, listed
        self._by_pid: dict[int, Person] = {}
        self._due_s = 0.0
        self.prepare()

    def prepare(self) -> None:
        """Lists them all. Raises: as `read_processes`."""
        for one in self._listed():
            if one.created is not None:
                self._put(one.pid, Person(self._boot.key(one.pid, one.created), one.name or str(one.pid)))
        self._due_s = monotonic() + LIST_S

    def started(self, event: Started) -> None:
        """Takes note of a start."""
        name = event.image.rpartition("\\")[2] or str(event.pid)
        self._put(event.pid, Person(self._boot.key(event.pid, event.created), name))

    def of(self, pid: int) -> Person | None:
        """Whose pid it is; None for nobody's, or one whose process was never seen."""
        if pid in NOBODY:
            return None
        found = self._by_pid.get(pid)
        if found is None and monotonic() >= self._due_s:
            try:
                self.prepare()
            except Error:  # the pid stays unknown, which its flows then say
                self._due_s = monotonic() + LIST_S
            found = self._by_pid.get(pid)
        return found

    def _put(self, pid: int, person: Person) -> None:
        self._by_pid.pop(pid, None)
        self._by_pid[pid] = person
        if len(self._by_pid) > MOST_PROCESSES:
            del self._by_pid[next(iter(self._by_pid))]
