"""The debugger's loop on scripted events: whose exceptions are whose, and what becomes of who was not invited."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from hostscope.errors import Denied, Error, Gone, NativeError
from hostscope.model.key import ProcessKey
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import debugger
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.debugger import _Debugger
from hostscope.platforms.windows.native import debug
from hostscope.platforms.windows.native.library import SystemRefused
from hostscope.platforms.windows.trace_calls import choose
from tests.unit.platforms.windows.scripted import script

ROOT = 8


def event(code: int, pid: int, exception: int = 0) -> debug.DEBUG_EVENT:
    made = debug.DEBUG_EVENT(code, pid, pid + 1)
    if exception:
        made.u.Exception.ExceptionRecord.ExceptionCode = exception
    return made


BEGIN, END = debug.CREATE_PROCESS_DEBUG_EVENT, debug.EXIT_PROCESS_DEBUG_EVENT
INT3, FAULT = debug.EXCEPTION_BREAKPOINT, 0xC0000005


class Script:
    """Events one after the other, and what was answered to each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[debug.DEBUG_EVENT] = []
        self.answers: list[bool] = []
        self.detached: list[int] = []
        self.inherits = True
        self.set: list[bool] = []
        monkeypatch.setattr(debug, "next_event", lambda timeout_ms: self.events.pop(0) if self.events else None)
        monkeypatch.setattr(debug, "go_on", lambda event, handled: self.answers.append(handled))
        monkeypatch.setattr(debug, "detach", self.detached.append)
        monkeypatch.setattr(debug, "inherits", lambda process: self.inherits)
        monkeypatch.setattr(debug, "set_inherits", lambda process, children: self.set.append(children))
        monkeypatch.setattr(debugger.machine_kind, "is_wow64", lambda process: False)
        monkeypatch.setattr(debugger.native, "created", lambda process: 4711)
        monkeypatch.setattr("hostscope.platforms.windows.debugged.memory.read_into", lambda *_: 0)
        monkeypatch.setattr("hostscope.platforms.windows.debugged.control.suspend", self._refuse)
        script(monkeypatch, debug.kernel32, FlushInstructionCache=lambda *_: True)

    def _refuse(self, process: int) -> None:
        raise SystemRefused("NtSuspendProcess", 0xC000010A)

    def run(self, *events: debug.DEBUG_EVENT, children: bool = True) -> _Debugger:
        """The root is attached to; all events come; and it ends."""
        key = ProcessKey("boot", 0, ROOT, 1)
        made = _Debugger(Boot("boot", 0), TraceRequest((key,), ("all",), children), choose(["all"]))
        made.expect(key)
        self.events = [*events, event(END, ROOT)]
        assert list(made.calls(threading.Event())) == []
        made.release()
        return made


def test_the_first_breakpoint_is_the_systems_and_all_others_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Script(monkeypatch)
    found.run(event(BEGIN, ROOT), fault(ROOT, INT3), fault(ROOT, INT3), fault(ROOT, FAULT))
    assert found.answers == [True, True, False, False, True]
    assert not found.detached


def test_a_pid_that_is_given_again_is_greeted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the breakpoint that begins it would end it."""
    child = [event(BEGIN, 12), fault(12, INT3), event(END, 12)]
    found = Script(monkeypatch)
    made = found.run(event(BEGIN, ROOT), *child, *child)
    assert found.answers == [True] * 8
    assert made.followed == 2


def test_children_who_are_not_wanted_are_let_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Script(monkeypatch)
    made = found.run(event(BEGIN, ROOT), event(BEGIN, 12), children=False)
    assert found.detached == [12] and made.followed == 0
    assert found.set == [False], "and the system was told not to debug any"


def test_what_was_changed_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Script(monkeypatch)
    found.inherits = False
    key = ProcessKey("boot", 0, ROOT, 1)
    made = _Debugger(Boot("boot", 0), TraceRequest((key,), ("all",)), choose(["all"]))
    made.expect(key)
    found.events = [event(BEGIN, ROOT)]
    stop = threading.Event()
    monkeypatch.setattr(debug, "go_on", lambda event, handled: stop.set())
    assert list(made.calls(stop)) == []
    assert found.set == [True]
    made.release()
    assert found.set == [True, False] and found.detached == [ROOT]


def fault(pid: int, exception: int) -> debug.DEBUG_EVENT:
    return event(debug.EXCEPTION_DEBUG_EVENT, pid, exception)


def test_files_of_events_are_closed_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handles of processes and threads are Windows' to close, with their ends or the detach."""
    closed: list[int] = []
    monkeypatch.setattr(debugger.handles, "close", closed.append)
    begin, load, thread = event(BEGIN, ROOT), event(debug.LOAD_DLL_DEBUG_EVENT, ROOT), event(BEGIN, 12)
    begin.u.CreateProcessInfo.hFile, begin.u.CreateProcessInfo.hProcess, begin.u.CreateProcessInfo.hThread = 41, 42, 43
    load.u.LoadDll.hFile, thread.u.CreateProcessInfo.hFile = 44, 45
    unnamed = event(debug.LOAD_DLL_DEBUG_EVENT, ROOT)
    Script(monkeypatch).run(begin, load, unnamed, thread, children=False)
    assert closed == [41, 44, 45]


def test_a_second_interrupt_waits_until_the_process_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breakpoints that it left behind would end the process at its next call."""
    found, key = Script(monkeypatch), ProcessKey("boot", 0, ROOT, 1)
    found.events = [event(BEGIN, ROOT)]
    monkeypatch.setattr(debugger, "_attach", lambda boot, privileges, key, made: made.expect(key))
    request, stop, tally = TraceRequest((key,), ("all",), method="debugger"), threading.Event(), Tally()
    events = debugger._events(Boot("boot", 0), None, request, choose(["all"]), stop, tally)  # type: ignore[arg-type]
    next(events)
    stop.set()
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(debug, "next_event", lambda timeout_ms: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        next(events)
    assert found.detached == [ROOT] and signal.getsignal(signal.SIGINT) is before


class Rights:
    """Privileges that are there, and what they were raised for."""

    def __init__(self) -> None:
        self.raised: list[tuple[tuple[str, ...], str]] = []

    @contextmanager
    def using(self, names: tuple[str, ...], why: str) -> Iterator[None]:
        self.raised.append((names, why))
        yield


@pytest.mark.parametrize(
    ("codes", "error", "told"),
    [
        ([], None, ""),
        ([5], None, ""),
        ([5, 5], Denied, "process 8: access denied"),
        ([5, 87], Gone, "there is no such process"),
        ([87], Gone, "there is no such process"),
        ([50], NativeError, "DebugActiveProcess"),
    ],
)
def test_refusals_to_attach(
    monkeypatch: pytest.MonkeyPatch, codes: list[int], error: type[Error] | None, told: str
) -> None:
    """The debug privilege is raised for what is denied without it, and for nothing else."""
    left, rights, key = list(codes), Rights(), ProcessKey("boot", 0, ROOT, 1)

    def attach(pid: int) -> None:
        if left:
            raise SystemRefused("DebugActiveProcess", left.pop(0))

    monkeypatch.setattr(debug, "attach", attach)
    monkeypatch.setattr(debugger, "hold", lambda *_: nullcontext(77))
    boot = Boot("boot", 0)
    made = _Debugger(boot, TraceRequest((key,), ("all",)), choose(["all"]))
    with pytest.raises(error, match=told) if error else nullcontext():
        debugger._attach(boot, rights, key, made)  # type: ignore[arg-type]
    assert (key.pid in made._expected) is (error is None)
    assert [names for names, _ in rights.raised] == [("SeDebugPrivilege",)] * (codes[:1] == [5]), codes
