"""What the kernel notes of processes that are watched (kqueue): ends, forks and new programs.

The kernel tells that a process forked, but not whom it made: its children are looked for in the list of processes then.
What forks and ends before that look is missed, and every answer says so.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from hostscope.errors import Error
from hostscope.model.event import Body, Event, ProcessExec, ProcessExit, ProcessStart
from hostscope.model.key import ProcessKey
from hostscope.platforms.event_stream import Happening, Numbering
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.native import errnos, kqueue, libproc
from hostscope.platforms.macos.parse import Listed, parse_text
from hostscope.platforms.macos.questions import Questions
from hostscope.platforms.macos.translate import error
from hostscope.platforms.tally import Tally

LOOK_S = 0.2
MISSES = (
    "a process that starts and ends between a fork and the look after it is missed, and so is what it ran before that "
    "look; programs and arguments are those of a moment after"
)
NOTES = kqueue.NOTE_EXIT | kqueue.NOTE_FORK | kqueue.NOTE_EXEC
KINDS = frozenset({"start", "exec", "exit"})
Processes = Callable[[], Iterable[Listed]]
Path = Callable[[int], str | None]
Words = Callable[[int], tuple[str, ...] | None]


class Watched(NamedTuple):
    """A process that is watched."""

    key: ProcessKey
    name: str
    uid: int


def read_program(pid: int) -> str | None:
    """The path of what a process runs; None when it has ended."""
    try:
        return parse_text(libproc.read_path(pid, libproc.path_buffer()))
    except OSError:
        return None


def read_words(pid: int) -> tuple[str, ...] | None:
    """Its arguments; None when it has ended, is another user's, or they came cut off."""
    try:
        found = Questions().arguments(pid)
    except (OSError, ValueError):
        return None
    return found.argv if found.whole else None


class ProcessNotes:
    """A queue with every process."""

    def __init__(
        self,
        boot: Boot,
        processes: Processes,
        kinds: frozenset[str],
        path: Path = read_program,
        words: Words = read_words,
    ) -> None:
        """Watches all that run.

        Raises:
            NativeError
        """
        self._boot, self._processes, self._kinds = boot, processes, kinds
        self._path, self._words = path, words
        self._known: dict[int, Watched] = {}
        self._refused: set[ProcessKey] = set()
        try:
            self._queue = kqueue.open_queue()
        except OSError as failed:
            raise error("kqueue", failed) from failed
        try:
            for _ in self._look():  # who runs already is not told of
                pass
        except BaseException:
            self.close()
            raise

    @property
    def refused(self) -> int:
        """Processes that may not be watched."""
        return len(self._refused)

    def close(self) -> None:
        """Watches no more."""
        os.close(self._queue)

    def happenings(self, timeout_s: float) -> Iterator[tuple[ProcessKey | None, Body]]:
        """What happened until the time is up, in the kernel's order; then who is new."""
        try:
            notes = kqueue.wait(self._queue, timeout_s)
        except OSError as failed:
            if failed.errno == errnos.EINTR:
                return
            raise error("kevent", failed) from failed
        for pid, flags, data in notes:
            yield from self._happened(pid, flags, data)
        if not notes or any(flags & kqueue.NOTE_FORK for _, flags, _ in notes):
            yield from self._look()

    def _happened(self, pid: int, flags: int, data: int) -> Iterator[tuple[ProcessKey | None, Body]]:
        known = self._known.get(pid)
        if known is None:
            return
        if flags & kqueue.NOTE_EXEC:
            path = self._path(pid)
            name = (path or known.name).rpartition("/")[2][:16]
            self._known[pid] = known._replace(name=name)
            if "exec" in self._kinds:
                yield known.key, ProcessExec(name, path, self._words(pid), uid=known.uid)
        if flags & kqueue.NOTE_EXIT:
            del self._known[pid]
            if "exit" in self._kinds:
                yield known.key, _exit(known.name, flags, data)

    def _look(self) -> Iterator[tuple[ProcessKey | None, Body]]:
        """Whom the list has anew. A process is watched before it is told of, so its end is not missed."""
        for one in self._processes():
            key = self._boot.key(one.pid, one.start_us)
            known = self._known.get(one.pid)
            if one.pid == 0 or key in self._refused or (known is not None and known.key == key):
                continue
            if not self._watch(key):
                continue
            self._known[one.pid] = Watched(key, one.name, one.uid)
            parent = self._known.get(one.ppid)
            if "start" in self._kinds:
                yield key, ProcessStart(one.name, parent.key if parent else None, uid=one.uid)

    def _watch(self, key: ProcessKey) -> bool:
        """Its exit status is for its parent, its user and root only; then it is watched without."""
        for notes in (NOTES | kqueue.NOTE_EXITSTATUS, NOTES):
            try:
                code = kqueue.watch(self._queue, (key.pid,), notes).get(key.pid, 0)
            except OSError as failed:
                raise error("kevent", failed) from failed
            if not code:
                return True
            if code == errnos.ESRCH:
                return False
        self._refused.add(key)
        return False


def _exit(name: str, flags: int, data: int) -> ProcessExit:
    """`data` is what wait(2) gives, where it was told."""
    if not flags & kqueue.NOTE_EXITSTATUS:
        return ProcessExit(name, None, None)
    signal = data & 0x7F
    return ProcessExit(name, None if signal else data >> 8 & 0xFF, signal or None, bool(data & 0x80))


def stream(source: ProcessNotes, stop: threading.Event, tally: Tally) -> Iterator[Event]:
    """Events until `stop`; the first says what is covered."""
    numbering = Numbering(tally.method, tally)
    yield numbering.coverage()
    while not stop.is_set():
        try:
            happened = list(source.happenings(LOOK_S))
        except Error as failed:
            tally.note(failed.message)
            raise
        for key, body in happened:
            yield numbering.event(Happening(0, key, body))
