"""Calls of memory and process functions, by a debugger: opt-in, because it stops the process at each of them.

Nothing is put into the process but INT3 at the functions' first bytes and at the addresses they return to. The debugger
interface belongs to a thread, so the generator must be used by one thread only. A normal end restores every byte,
sends threads that had just met a breakpoint back to its start, and detaches. A process survives us whatever happens to
us (DebugSetProcessKillOnExit), but if we are killed meanwhile, breakpoints stay in its code, and the next call ends it.
"""

import platform
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from hostscope.errors import Denied, Unsupported, UsageError
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.event_stream import Happening, Numbering
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import trace_calls, translate
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.debugged import Debugged, Returned
from hostscope.platforms.windows.identity import DEBUG, hold
from hostscope.platforms.windows.native import debug, handles, machine_kind
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.native.debug import DEBUG_EVENT
from hostscope.platforms.windows.uninterrupted import uninterrupted

METHOD = "debugger"
METHODS = (METHOD, "regions")
TICK_MS = 100
QUIET_MS = 50
"""So long nothing may come before a process is let go of."""
MOST_LAST_EVENTS = 10_000
_BREAKPOINTS = (debug.EXCEPTION_BREAKPOINT, debug.STATUS_WX86_BREAKPOINT)
ACCESS = handles.PROCESS_VM_READ | handles.PROCESS_VM_WRITE | handles.PROCESS_VM_OPERATION
HINT = "--method debugger stops the process at each call; --method regions looks without attaching"


def check(request: TraceRequest) -> tuple[trace_calls.Function, ...]:
    """What is to be traced. Raises UsageError."""
    if request.method is not None and request.method not in METHODS:
        raise UsageError(f"there is no method {request.method!r}", f"methods here: {', '.join(METHODS)}")
    if not request.keys:
        raise UsageError("nothing is named to trace")
    return trace_calls.choose(request.calls)


def trace(
    boot: Boot,
    privileges: Privileges,
    request: TraceRequest,
    stop: threading.Event,
    tally: Tally,
    spawned: set[ProcessKey],
) -> Iterator[Event]:
    """Calls as they return until `stop`, or until the last traced process has ended; attached at once.

    Args:
        spawned: processes that we started, which may be stopped without being asked for it.

    Raises:
        UsageError: `request` names no call or method of this system.
        Gone, Denied, Mismatch, Unsupported
    """
    functions = check(request)
    if platform.machine().lower() != "amd64":
        raise Unsupported(f"the debugger knows x64 only, not {platform.machine()}", "use --method regions")
    if request.method is None and not set(request.keys) <= spawned:
        raise Unsupported("only a debugger sees calls of a process that runs, and it stops it at each of them", HINT)
    events = _events(boot, privileges, request, functions, stop, tally)
    return chain((next(events),), events)


def _events(
    boot: Boot,
    privileges: Privileges,
    request: TraceRequest,
    functions: tuple[trace_calls.Function, ...],
    stop: threading.Event,
    tally: Tally,
) -> Iterator[Event]:
    debugger = _Debugger(boot, request, functions)
    tally.method = METHOD
    numbering = Numbering(METHOD, tally)
    try:
        for key in request.keys:
            _attach(boot, privileges, key, debugger)
        pids = ", ".join(str(key.pid) for key in request.keys)
        tally.effects.append(f"process {pids} was stopped at each of the traced calls; INT3 in its code meanwhile")
        yield numbering.coverage()
        for happening in debugger.calls(stop):
            yield numbering.event(happening)
    finally:
        with uninterrupted():
            debugger.release()
        _tell(debugger, tally)
    if missing := sorted({function.name for function in functions} - debugger.found - debugger.blocked):
        tally.note(f"not found in the process: {', '.join(missing)}")
    if blocked := sorted(debugger.blocked - debugger.found):
        tally.note(f"not shown, because no breakpoint can be set, or somebody else's is there: {', '.join(blocked)}")


def _tell(debugger: "_Debugger", tally: Tally) -> None:
    """What became of it, in the coverage."""
    for note in sorted(debugger.notes):
        tally.note(note)
    if debugger.followed:
        tally.effects.append(f"{debugger.followed} processes that they started were stopped as well")
    if debugger.left:
        tally.effects.append(
            f"{debugger.left} breakpoints could not be taken out: their processes end when they meet one"
        )


def _attach(boot: Boot, privileges: Privileges, key: ProcessKey, debugger: "_Debugger") -> None:
    """The key is compared through a handle that stays open while attaching, so the pid stays this process's."""
    with hold(boot, privileges, key, ACCESS, f"trace process {key.pid}"):
        try:
            _attached(key.pid)
        except Denied:
            with privileges.using(DEBUG, f"trace process {key.pid}"):
                _attached(key.pid)
        debugger.expect(key)


def _attached(pid: int) -> None:
    try:
        debug.attach(pid)
    except OSError as failed:
        raise translate.error("DebugActiveProcess", failed, pid) from failed


class _Debugger:
    """The loop: one event at a time, its process standing still meanwhile."""

    def __init__(self, boot: Boot, request: TraceRequest, functions: tuple[trace_calls.Function, ...]) -> None:
        self._boot = boot
        self._request = request
        self._functions = functions
        self._expected: dict[int, ProcessKey] = {}
        self._debugged: dict[int, Debugged] = {}
        self._greeted: set[tuple[int, int]] = set()
        """Processes, and the breakpoint that the system put there when we attached."""
        self._strangers: set[int] = set()
        """Processes that came uninvited, and are let go of."""
        self._bequeathed: dict[int, bool] = {}
        """Whether what a process starts was to be debugged, where we changed that."""
        self._ending = False
        self.found: frozenset[str] = frozenset()
        self.blocked: frozenset[str] = frozenset()
        self.followed = 0
        self.left = 0
        """Breakpoints that could not be taken out."""
        self.notes: set[str] = set()

    def expect(self, key: ProcessKey) -> None:
        """We are attached to this process; its events come."""
        self._expected[key.pid] = key

    def calls(self, stop: threading.Event) -> Iterator[Happening]:
        """Calls as they return, until `stop` or until nobody is left."""
        while self._expected and not stop.is_set():
            event = debug.next_event(TICK_MS)
            if event is not None:
                with uninterrupted():  # threads that are held, or an event without an answer, would be left behind
                    happening = self._handle(event)
                if happening is not None:
                    yield happening

    def release(self) -> None:
        """Takes the breakpoints out, lets through what met one before, and detaches."""
        self._ending = True
        for pid, debugged in self._debugged.items():
            self.left += debugged.remove_all()
            self._give_back(pid, debugged.process)
        quiet = 0
        for _ in range(MOST_LAST_EVENTS):
            event = debug.next_event(QUIET_MS) if self._expected else None
            if event is None:
                quiet += 1
                if quiet > 1 or not self._expected:
                    break
                continue
            quiet = 0
            self._handle(event)
        for debugged in self._debugged.values():
            debugged.let_run()
        for pid in list(self._expected):
            with suppress(OSError):  # it ended in this moment
                debug.detach(pid)
        self._expected.clear()

    def _give_back(self, pid: int, process: int) -> None:
        """Whether children are debugged, as it was before."""
        if pid in self._bequeathed:
            with suppress(OSError):  # it ended
                debug.set_inherits(process, self._bequeathed.pop(pid))

    def _handle(self, event: DEBUG_EVENT) -> Happening | None:
        """One event, and the process goes on."""
        handled, came = True, None
        try:
            if event.dwDebugEventCode == debug.EXCEPTION_DEBUG_EVENT:
                handled, came = self._exception(event)
            else:
                self._change(event)
        except OSError:
            handled = True  # the thread or process ended under our hands; its end is told next
        finally:
            debug.go_on(event, handled)
            self._let_go(event.dwProcessId)
        return came

    def _let_go(self, pid: int) -> None:
        """Of a process that is not ours to debug, before it does anything."""
        if pid in self._strangers:
            self._strangers.discard(pid)
            with suppress(OSError):  # it ended
                debug.detach(pid)

    def _exception(self, event: DEBUG_EVENT) -> tuple[bool, Happening | None]:
        record, debugged = event.u.Exception.ExceptionRecord, self._debugged.get(event.dwProcessId)
        if debugged is None:
            return False, None
        if record.ExceptionCode == debug.EXCEPTION_SINGLE_STEP:
            return debugged.at_step(event.dwThreadId), None
        if record.ExceptionCode not in _BREAKPOINTS:
            return False, None
        came = debugged.at_breakpoint(event.dwThreadId, record.ExceptionAddress or 0)
        if came is False:  # the one that the system puts there when a debugger attaches comes first
            greeting = event.dwProcessId, record.ExceptionCode
            first = greeting not in self._greeted
            self._greeted.add(greeting)
            return first, None
        return True, self._happening(debugged, came) if isinstance(came, Returned) else None

    def _happening(self, debugged: Debugged, came: Returned) -> Happening:
        took = came.duration_ns if self._request.durations else None
        return Happening(0, debugged.key, trace_calls.decode(came.seen, came.tid, took, came.caller, came.outside))

    def _change(self, event: DEBUG_EVENT) -> None:
        """Processes, threads and libraries that come and go."""
        code, pid, tid = event.dwDebugEventCode, event.dwProcessId, event.dwThreadId
        if code == debug.CREATE_PROCESS_DEBUG_EVENT:
            self._begin(pid, tid, event.u.CreateProcessInfo)
            return
        debugged = self._debugged.get(pid)
        if code == debug.LOAD_DLL_DEBUG_EVENT:
            _close(event.u.LoadDll.hFile)
        if debugged is None:
            return
        if code == debug.CREATE_THREAD_DEBUG_EVENT:
            debugged.add_thread(tid, event.u.CreateThread.hThread or 0, event.u.CreateThread.lpThreadLocalBase or 0)
        elif code == debug.EXIT_THREAD_DEBUG_EVENT:
            debugged.drop_thread(tid)
        elif code == debug.LOAD_DLL_DEBUG_EVENT:
            debugged.add_module(event.u.LoadDll.lpBaseOfDll or 0)
            self.found |= debugged.found
            self.blocked |= debugged.blocked
        elif code == debug.UNLOAD_DLL_DEBUG_EVENT:
            debugged.drop_module(event.u.UnloadDll.lpBaseOfDll or 0)
        elif code == debug.EXIT_PROCESS_DEBUG_EVENT:
            self._debugged.pop(pid, None)
            self._expected.pop(pid, None)
            self._bequeathed.pop(pid, None)
            self._greeted -= {(pid, code) for code in _BREAKPOINTS}  # the pid may be given to another one

    def _begin(self, pid: int, tid: int, info: debug.CREATE_PROCESS_DEBUG_INFO) -> None:
        _close(info.hFile)
        process = info.hProcess or 0
        key = self._expected.get(pid) or self._child(pid, process)
        if key is None:
            return
        self._bequeath(pid, process)
        debugged = Debugged(key, process, self._functions, machine_kind.is_wow64(process))
        self._debugged[pid] = debugged
        if debugged.is_32_bit:
            self.notes.add("of 32-bit programs the Nt forms are shown, where they leave 32-bit code")
        debugged.add_thread(tid, info.hThread or 0, info.lpThreadLocalBase or 0)
        debugged.add_module(info.lpBaseOfImage or 0)

    def _child(self, pid: int, process: int) -> ProcessKey | None:
        """The key of a process that a traced one started; None for one that is not followed."""
        if self._ending or not self._request.children:
            self._strangers.add(pid)
            return None
        self.followed += 1
        self._expected[pid] = key = self._boot.key(pid, native.created(process))
        return key

    def _bequeath(self, pid: int, process: int) -> None:
        """Has the system debug what a process starts, or not, as it was asked for."""
        children = self._request.children
        try:
            before = debug.inherits(process)
            if before != children:
                debug.set_inherits(process, children)
                self._bequeathed[pid] = before
        except (OSError, Unsupported) as failed:
            if children:
                self.notes.add(f"processes that the traced ones start may not be followed: {failed}")


def _close(handle: int | None) -> None:
    if handle:
        handles.close(handle)
