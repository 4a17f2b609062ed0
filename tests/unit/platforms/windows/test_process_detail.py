"""What a scripted process holds; each part that is refused is a gap, and the others are read."""

from dataclasses import replace
from typing import Any

import pytest

from hostscope.errors import Denied, Gone, Mismatch, Unsupported, UsageError
from hostscope.model.detail import MemoryMap, Module, ProcessDetail, Variable, Window
from hostscope.model.gap import Reason
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.model.socket import Endpoint, Socket, SocketOwner
from hostscope.platforms.windows import detail
from hostscope.platforms.windows.detail import PARTS, Details
from hostscope.platforms.windows.native import control, desktop, modules, thread_names, threads
from hostscope.platforms.windows.native.library import SystemRefused, set_last_error
from tests.unit.platforms.windows.scripted import BOOTED, Program, Thread, script
from tests.unit.platforms.windows.scripted_processes import BOOT, DENIED, Answers, Computer, Unraised

EVERY = frozenset(PARTS)
KEY = BOOT.key(100, BOOTED + 7)
STRANGER = BOOT.key(104, BOOTED)
PYTHON = modules.Loaded("C:\\x\\python.exe", 0x1000, 0x500, 0x1010)


class Parts:
    """What memory and sockets tell; both refuse when told to."""

    def __init__(self) -> None:
        self.refuse: Exception | None = None

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        if self.refuse:
            raise self.refuse
        return (Region(0x1000, 0x2000, "r-xp", 0, "", 0, "C:\\x\\python.exe"),)

    def sweep(self, request: Any, tally: Any) -> Any:
        if self.refuse:
            raise self.refuse
        ours, theirs = SocketOwner(KEY, "a"), SocketOwner(STRANGER, "b")
        local = Endpoint("127.0.0.1", 80)
        for owners in ((ours, theirs), (theirs,), ()):
            yield Socket("inet", "stream", "tcp", "listen", local, None, None, None, owners=owners)


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    found = Computer(
        [Program(100, "a.exe", created=BOOTED + 7, threads=(Thread(104), Thread(108, state=2, user_time=5)))]
    ).install(monkeypatch)
    found.answers[100] = Answers(environment="A=1\0")
    script(
        monkeypatch,
        control.kernel32,
        WaitForSingleObject=lambda handle, ms: 0 if found.of(handle - 0x10000).ended else 258,
    )
    script(monkeypatch, detail.handles.kernel32, OpenThread=lambda access, inherit, tid: 0x20000 + tid)
    monkeypatch.setattr(threads, "start_address", lambda handle: 0x1010 if handle == 0x20000 + 104 else 0x9999)
    monkeypatch.setattr(thread_names, "thread_name", lambda handle: "main" if handle == 0x20000 + 104 else "")
    monkeypatch.setattr(modules, "module_bases", lambda handle: [0x1000])
    monkeypatch.setattr(modules, "describe_module", lambda handle, base: PYTHON)
    monkeypatch.setattr(desktop, "windows_of", lambda pid: [desktop.Shown(5, "title", "Class", True, 104)])
    monkeypatch.setattr(detail, "read_handles", lambda pid, handle: ((), []))
    return found


def read(parts: Parts | None = None, asked: frozenset[str] = EVERY, key: ProcessKey = KEY) -> ProcessDetail:
    others: Any = parts or Parts()
    privileges: Any = Unraised()
    return Details(BOOT, privileges, others, others).read(key, asked)


def test_every_part(computer: Computer) -> None:
    found = read()
    assert found.gaps == ()
    assert found.maps == (MemoryMap(0x1000, 0x2000, "r-xp", 0, "", 0, "C:\\x\\python.exe"),)
    assert found.modules == (Module("python.exe", "C:\\x\\python.exe", 0x1000, 0x500, 0x1010),)
    assert found.environment == (Variable("A", "1"),)
    assert found.windows == (Window(5, "title", "Class", True, 104),)
    assert found.open_files == ()
    assert found.sockets is not None and len(found.sockets) == 1
    assert found.sockets[0].owners == (SocketOwner(KEY, "a"),)
    first, second = found.threads or ()
    assert (first.tid, first.name, first.state, first.wait_reason) == (104, "main", "waiting", "user-request")
    assert (first.start_address, first.start_module) == (0x1010, "C:\\x\\python.exe")
    assert (second.state, second.wait_reason, second.user_ns, second.start_module) == ("running", None, 500, None)
    assert not computer.open


def test_threads_of_a_kernel_that_tells_no_states(computer: Computer) -> None:
    """As Wine's: all of them are said to be what threads are before they first run."""
    (program,) = (one for one in computer.programs if one.pid == KEY.pid)
    untold = replace(program, threads=tuple(replace(thread, state=0) for thread in program.threads))
    computer.system.programs = [untold if one is program else one for one in computer.programs]
    found = read(asked=frozenset({"threads"}))
    assert {thread.state for thread in found.threads or ()} == {"unknown"}
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("threads.state", Reason.UNAVAILABLE)]


def test_parts_that_were_not_asked_for_are_none(computer: Computer) -> None:
    found = read(asked=frozenset({"windows"}))
    assert found.windows and (found.maps, found.threads, found.environment, found.modules) == (None,) * 4


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(Denied("no"), Reason.DENIED), (Unsupported("no"), Reason.UNSUPPORTED), (OSError(31, "odd"), Reason.UNAVAILABLE)],
)
def test_what_others_cannot_tell_is_a_gap(computer: Computer, refusal: Exception, reason: Reason) -> None:
    parts = Parts()
    parts.refuse = refusal
    found = read(parts)
    assert {gap.field: gap.reason for gap in found.gaps} == {"maps": reason, "sockets": reason}
    assert found.modules and found.threads


def test_a_protected_process_shows_its_threads(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    for access in (detail.READ_MEMORY, detail.LOAD_MEMORY, detail.handles.PROCESS_DUP_HANDLE):
        computer.refuse[f"OpenProcess:{access:#x}"] = DENIED

    def refused(access: int, inherit: bool, tid: int) -> int:
        set_last_error(DENIED)
        return 0

    script(monkeypatch, detail.handles.kernel32, OpenThread=refused)
    found = read()
    expected = dict.fromkeys(("environment", "modules", "threads.name", "threads.start_address"), Reason.DENIED)
    assert {gap.field: gap.reason for gap in found.gaps} == expected
    assert [thread.tid for thread in found.threads or ()] == [104, 108]
    assert found.open_files == ()


def test_a_module_that_was_unloaded_meanwhile_is_left_out(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(handle: int, base: int) -> modules.Loaded:
        if base == 0x1000:
            raise OSError(6, "unloaded")
        return PYTHON

    monkeypatch.setattr(modules, "module_bases", lambda handle: [0x1000, 0x2000])
    monkeypatch.setattr(modules, "describe_module", describe)
    found = read(asked=frozenset({"modules"}))
    assert found.modules is not None and len(found.modules) == 1
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("modules", Reason.TRUNCATED)]


def test_modules_that_may_not_be_described_are_a_gap(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, base: int) -> modules.Loaded:
        raise SystemRefused("GetModuleFileNameExW", DENIED)

    monkeypatch.setattr(modules, "describe_module", refuse)
    found = read(asked=frozenset({"modules"}))
    assert found.modules is None
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("modules", Reason.DENIED)]


@pytest.mark.parametrize(("result", "reason"), [(0x80070005, Reason.DENIED), (0x80004005, Reason.UNAVAILABLE)])
def test_refusals_by_component_object_model_are_told_apart(
    computer: Computer, monkeypatch: pytest.MonkeyPatch, result: int, reason: Reason
) -> None:
    def refuse(thread: int) -> str:
        raise SystemRefused("GetThreadDescription", result)

    monkeypatch.setattr(thread_names, "thread_name", refuse)
    found = read(asked=frozenset({"threads"}))
    assert ("threads.name", reason) in {(gap.field, gap.reason) for gap in found.gaps}


def test_another_process_or_one_that_ended_is_refused(computer: Computer) -> None:
    with pytest.raises(Mismatch):
        read(key=BOOT.key(100, BOOTED + 8))
    with pytest.raises(Gone):
        read(key=BOOT.key(4000, BOOTED))
    computer.answers[100].ended = BOOTED + 99
    with pytest.raises(Gone):
        read()
    with pytest.raises(UsageError, match="unknown part 'heap'"):
        read(asked=frozenset({"heap"}))
