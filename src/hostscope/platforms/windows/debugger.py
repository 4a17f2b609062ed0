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
from hostscope.platforms.base import Privileges
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import trace_calls, translate
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.debugged import Debugged, Returned
from hostscope.platforms.windows.event_stream import Happening, Numbering
from hostscope.platforms.windows.identity import DEBUG, hold
from hostscope.platforms.windows.native import control, debug, handles, machine_kind
from hostscope.platforms.windows.native.debug import DEBUG_EVENT

METHOD = "debugger"
METHODS = (METHOD, "regions")
TICK_MS = 100
QUIET_MS = 50
"""So long nothing may come before a process is let go of."""
MOST_LAST_EVENTS = 10_000
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
    debugger = _Debugger(request, functions)
    tally.method = METHOD
    numbering = Numbering(METHOD, tally)
    try:
        for key in request.keys:
            _attach(boot, privileges, key, debugger)
        pids = ", ".join(str(key.pid) for key in request.keys)
        tally.effects.append(f"process {pids} was stopped at each of the traced calls; INT3 in its code meanwhile")
        if request.children:
            tally.note("processes that the traced ones start are not followed")
        yield numbering.coverage()
        for happening in debugger.calls(stop):
            yield numbering.event(happening)
    finally:
        debugger.release()
    if missing := sorted({function.name for function in functions} - debugger.found):
        tally.note(f"not found in the process: {', '.join(missing)}")


def _attach(boot: Boot, privileges: Privileges, key: ProcessKey, debugger: "_Debugger") -> None:
    """The key is compared through a handle that stays open while attaching, so the pid stays this process's."""
    with hold(boot, privileges, key, ACCESS, f"trace process {key.pid}") as process:
        if machine_kind.is_wow64(process):
            raise Unsupported(f"process {key.pid} is a 32-bit program, which the debugger does not know", HINT)
        try:
            debug.attach(key.pid)
        except OSError as failed:
            with privileges.using(DEBUG, f"trace process {key.pid}"):
                _attach_raised(key, failed)
        debugger.expect(key)


def _attach_raised(key: ProcessKey, refused: OSError) -> None:
    error = translate.error("DebugActiveProcess", refused, key.pid)
    if not isinstance(error, Denied):
        raise error from refused
    try:
        debug.attach(key.pid)
    except OSError as failed:
        raise translate.error("DebugActiveProcess", failed, key.pid) from failed


class _Debugger:
    """The loop: one event at a time, its process standing still meanwhile."""

    def __init__(self, request: TraceRequest, functions: tuple[trace_calls.Function, ...]) -> None:
        self._durations = request.durations
        self._functions = functions
        self._expected: dict[int, ProcessKey] = {}
        self._debugged: dict[int, Debugged] = {}
        self._greeted: set[int] = set()
        self.found: frozenset[str] = frozenset()

    def expect(self, key: ProcessKey) -> None:
        """We are attached to this process; its events come."""
        self._expected[key.pid] = key

    def calls(self, stop: threading.Event) -> Iterator[Happening]:
        """Calls as they return, until `stop` or until nobody is left."""
        while self._expected and not stop.is_set():
            event = debug.next_event(TICK_MS)
            if event is not None:
                happening = self._handle(event)
                if happening is not None:
                    yield happening

    def release(self) -> None:
        """Takes the breakpoints out, lets through what met one before, and detaches."""
        self._remove()
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
        for pid in list(self._expected):
            with suppress(OSError):  # it ended in this moment
                debug.detach(pid)
        self._expected.clear()

    def _remove(self) -> None:
        """With everybody standing still, so that nobody reads half of it."""
        for pid, debugged in self._debugged.items():
            with suppress(OSError), handles.opened(pid, handles.PROCESS_SUSPEND_RESUME) as process:
                control.suspend(process)
                try:
                    debugged.remove_all()
                finally:
                    control.resume(process)

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
        return came

    def _exception(self, event: DEBUG_EVENT) -> tuple[bool, Happening | None]:
        record, debugged = event.u.Exception.ExceptionRecord, self._debugged.get(event.dwProcessId)
        if debugged is None:
            return True, None
        if record.ExceptionCode == debug.EXCEPTION_SINGLE_STEP:
            return debugged.at_step(event.dwThreadId), None
        if record.ExceptionCode != debug.EXCEPTION_BREAKPOINT:
            return False, None
        came = debugged.at_breakpoint(event.dwThreadId, record.ExceptionAddress or 0)
        if came is False:  # the one that the system puts there when a debugger attaches comes first
            first = event.dwProcessId not in self._greeted
            self._greeted.add(event.dwProcessId)
            return first, None
        return True, self._happening(debugged, came) if isinstance(came, Returned) else None

    def _happening(self, debugged: Debugged, came: Returned) -> Happening:
        took = came.duration_ns if self._durations else None
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
        elif code == debug.UNLOAD_DLL_DEBUG_EVENT:
            debugged.drop_module(event.u.UnloadDll.lpBaseOfDll or 0)
        elif code == debug.EXIT_PROCESS_DEBUG_EVENT:
            self._debugged.pop(pid, None)
            self._expected.pop(pid, None)

    def _begin(self, pid: int, tid: int, info: debug.CREATE_PROCESS_DEBUG_INFO) -> None:
        _close(info.hFile)
        key = self._expected.get(pid)
        if key is None:
            return
        debugged = Debugged(key, info.hProcess or 0, self._functions)
        self._debugged[pid] = debugged
        debugged.add_thread(tid, info.hThread or 0, info.lpThreadLocalBase or 0)
        debugged.add_module(info.lpBaseOfImage or 0)


def _close(handle: int | None) -> None:
    if handle:
        debug.kernel32.CloseHandle(handle)
