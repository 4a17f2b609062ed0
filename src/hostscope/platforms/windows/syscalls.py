"""What processes do with their memory and threads, seen without touching them.

Windows shows system calls to nobody from outside: its tracing of them (the provider Threat-Intelligence) is for signed
security products that run as protected processes. What remains is to look at the map and the threads again and again;
a debugger, which stops the process, is in `debugger`.
"""

import threading
import time
from collections.abc import Iterator
from itertools import chain

from hostscope.errors import Gone, Unsupported
from hostscope.model.event import Body, Event
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.model.syscall import TraceRequest
from hostscope.platforms import base_memory, base_program
from hostscope.platforms.event_stream import Happening, Numbering
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.debugger import HINT, check
from hostscope.platforms.windows.identity import Attempt, persisting
from hostscope.platforms.windows.native import handles, threads
from hostscope.platforms.windows.parse_changes import ThreadFacts, memory_changes, thread_changes
from hostscope.platforms.windows.parse_processes import Listed
from hostscope.platforms.windows.privileges import Privileges
from hostscope.platforms.windows.process_list import read_processes

METHOD = "regions"
INTERVAL_S = 0.25
WHY_NOT = "Windows shows system calls only to signed security products (the Threat-Intelligence provider)"
UNTOLD = "where some threads began is not known, so that it is not known to be outside of every library"
MISSES = "what is mapped and unmapped again between two looks is missed, and who did it is not known"


class Syscalls:
    """Implements `hostscope.platforms.base.Syscalls`."""

    def __init__(
        self, memory: base_memory.Memory | None = None, privileges: base_program.Privileges | None = None
    ) -> None:
        self._memory = memory
        self._privileges = privileges or Privileges()

    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Changes of memory and threads until `stop`, or until the last process has ended: no calls, by `regions` only.

        Raises:
            UsageError: `request` names no call or method of this system.
            Gone, Denied, Mismatch
            Unsupported: without ``--method regions``: calls cannot be seen by looking.

        Cost: four looks a second; each is a system call for each region, and one list of all processes.
        """
        check(request)
        if request.method != METHOD or self._memory is None:
            raise Unsupported(WHY_NOT, HINT)
        events = self._stream(request, self._memory, stop, tally)
        return chain((next(events),), events)

    def _stream(
        self, request: TraceRequest, memory: base_memory.Memory, stop: threading.Event, tally: Tally
    ) -> Iterator[Event]:
        looks = {key: _Look(memory, self._privileges, key) for key in request.keys}
        tally.method = METHOD
        tally.note(MISSES)
        numbering = Numbering(METHOD, tally)
        yield numbering.coverage()
        while looks and not stop.wait(INTERVAL_S):
            listed = {one.pid: one for one in read_processes()}
            for key in list(looks):
                try:
                    happenings = looks[key].again(listed.get(key.pid))
                except Gone:
                    del looks[key]
                    continue
                if looks[key].untold:
                    tally.note(UNTOLD)
                for happening in happenings:
                    yield numbering.event(happening)


class _Look:
    """One process, as it was when it was looked at last."""

    def __init__(self, memory: base_memory.Memory, privileges: base_program.Privileges, key: ProcessKey) -> None:
        self._memory, self._privileges, self._key = memory, privileges, key
        listed = next((one for one in read_processes() if one.pid == key.pid), None)
        self._name = listed.name if listed else str(key.pid)
        self._regions: tuple[Region, ...] = memory.regions(key, False)
        self._threads = self._begun(listed, {})

    @property
    def untold(self) -> bool:
        """Whether of some threads nobody tells where they began."""
        return any(facts.start_address is None for facts in self._threads.values())

    def again(self, listed: Listed | None) -> list[Happening]:
        """What has changed since. Raises Gone."""
        if listed is None:
            raise Gone(f"process {self._key.pid} has ended")
        regions, found = self._memory.regions(self._key, False), self._begun(listed, self._threads)
        at = time.time_ns()
        bodies: tuple[Body, ...] = (
            *memory_changes(self._name, self._regions, regions),
            *thread_changes(self._name, self._threads, found, regions),
        )
        self._regions, self._threads = regions, found
        return [Happening(at, self._key, body) for body in bodies]

    def _begun(self, listed: Listed | None, known: dict[int, ThreadFacts]) -> dict[int, ThreadFacts]:
        """Threads with where they began, which is asked once of each."""
        found = {}
        with persisting(self._privileges, f"see where threads of process {self._key.pid} begin") as attempt:
            for entry in listed.thread_entries() if listed else ():
                before = known.get(entry.tid)
                if before is not None and before.created == entry.created:
                    found[entry.tid] = before
                else:
                    found[entry.tid] = ThreadFacts(entry.created, _start(entry.tid, attempt))
        return found


def _start(tid: int, attempt: Attempt) -> int | None:
    """As it was given to CreateThread; what the list of processes has is the kernel's, and the same for all threads."""
    try:
        return attempt(lambda: _asked_start(tid)) or None
    except OSError:
        return None


def _asked_start(tid: int) -> int:
    with handles.opened_thread(tid, handles.THREAD_QUERY_INFORMATION) as thread:
        return threads.start_address(thread)
