"""Handles of a process: a name that never comes costs a moment and a gap, not the answer."""

import ctypes
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hostscope.model.gap import Gap, Reason
from hostscope.platforms.windows import open_handles
from hostscope.platforms.windows.native import handles, ntdll, objects
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.open_handles import Names, read_handles
from hostscope.platforms.windows.parse_objects import HandleEntry
from tests.unit.platforms.windows.scripted import System, script
from tests.unit.platforms.windows.test_parse import handles as table
from tests.unit.platforms.windows.test_parse import utf16

OURS = 0x5000
"""What is added to a handle to make our duplicate."""
PID = 8


class Objects:
    """Objects by their handles: type and name; `wait` is set when those that never answer may."""

    def __init__(self, named: dict[int, tuple[str, str | Callable[[], str]]]) -> None:
        self.named = named
        self.open: set[int] = set()
        self.asked: list[tuple[int, int]] = []

    def duplicate(self, process: int, handle: int, ours: int, into: Any, *_: Any) -> int:
        if handle not in self.named:
            set_last_error(5)
            return 0
        into._obj.value = OURS + handle
        self.open.add(OURS + handle)
        return 1

    def close(self, handle: int) -> int:
        self.open.discard(handle)
        return 1

    def query(self, handle: int, kind: int, buffer: Any, size: int, needed: Any) -> int:
        self.asked.append((handle, kind))
        found = self.named[handle - OURS][0 if kind == ntdll.ObjectTypeInformation else 1]
        raw = utf16(found() if callable(found) else found)
        answer = struct.pack("<HHIQ", len(raw), len(raw) + 2, 0, ctypes.addressof(buffer) + 16) + raw
        ctypes.memmove(buffer, answer, len(answer))
        return 0


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Those that wait for it go on when the test has ended, while what they call is still scripted."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "names of files":
            thread.join(30)


def install(monkeypatch: pytest.MonkeyPatch, named: dict[int, tuple[str, Any]]) -> Objects:
    class Worker(open_handles._Worker):
        """What does answer has all the time that this machine may take."""

        def ask(self, ask: Callable[[int], str], handle: int, patience_s: float) -> str | Exception | None:
            return super().ask(ask, handle, patience_s if callable(named[handle - OURS][1]) else 60)

    monkeypatch.setattr(open_handles, "_Worker", Worker)
    found, system = Objects(named), System()
    entries = [(PID, handle, 3, 10 + sorted({k for k, _ in named.values()}).index(kind)) for handle, (kind, _) in
               named.items()]  # fmt: skip
    system.answers[ntdll.SystemExtendedHandleInformation] = lambda _: table(*entries, (4, 4, 1, 1))
    script(monkeypatch, ntdll.ntdll, NtQuerySystemInformation=system, NtQueryObject=found.query)
    script(
        monkeypatch,
        handles.kernel32,
        DuplicateHandle=found.duplicate,
        CloseHandle=found.close,
        GetCurrentProcess=lambda: 2**64 - 1,
    )
    script(
        monkeypatch,
        objects.kernel32,
        GetProcessId=lambda _: 4711,
        GetThreadId=lambda _: 12,
        GetProcessIdOfThread=lambda _: 8,
    )
    return found


def test_handles_have_types_names_and_access(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {
        4: ("Key", "\\REGISTRY\\MACHINE"), 8: ("File", "\\Device\\x"), 12: ("Process", ""), 16: ("Thread", ""),
        20: ("Event", ""), 24: ("ALPC Port", "\\p"),
    }  # fmt: skip
    found = install(monkeypatch, named)
    files, gaps = read_handles(PID, 1)
    assert [(f.fd, f.kind, f.path, f.mode, f.access) for f in files] == [
        (4, "key", "\\REGISTRY\\MACHINE", None, 3),
        (8, "file", "\\Device\\x", "rw", 3),
        (12, "process", "process 4711", None, 3),
        (16, "thread", "thread 12 of process 8", None, 3),
        (20, "event", "", None, 3),
        (24, "alpc-port", "\\p", None, 3),
    ]
    assert (gaps, found.open) == ([], set())


def test_a_handle_is_closed_before_the_name_of_its_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = install(monkeypatch, {4: ("File", "\\Device\\x")})

    def close(handle: int) -> int:
        time.sleep(0.05)  # whoever did not wait for it would be done by then
        return found.close(handle)

    script(monkeypatch, handles.kernel32, CloseHandle=close)
    names = Names(1)
    assert (names.of(HandleEntry(4, 3, 10, 0)), found.open) == (("File", "\\Device\\x"), set())
    assert names.gaps() == []


def test_a_type_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = install(monkeypatch, {4 * n: ("Event", f"\\e{n}") for n in range(1, 6)})
    files, _ = read_handles(PID, 1)
    assert {file.kind for file in files} == {"event"}
    assert sum(kind == ntdll.ObjectTypeInformation for _, kind in found.asked) == 1


def test_a_pipe_that_never_answers_is_left_behind(monkeypatch: pytest.MonkeyPatch, stuck: threading.Event) -> None:
    def never() -> str:
        stuck.wait(60)
        return "late"

    install(monkeypatch, {4: ("File", never), 8: ("File", "\\Device\\good"), 12: ("Key", "\\k")})
    began = time.monotonic()
    files, gaps = read_handles(PID, 1)
    assert time.monotonic() - began < 30
    assert [file.path for file in files] == ["", "\\Device\\good", "\\k"]
    text = "names of 1 files did not come: somebody waits in a call on them"
    assert gaps == [Gap("open_files.path", Reason.UNAVAILABLE, text)]


def test_after_some_that_never_answer_files_are_not_asked_for_any_more(
    monkeypatch: pytest.MonkeyPatch, stuck: threading.Event
) -> None:
    def never() -> str:
        stuck.wait(60)
        return "late"

    found = install(monkeypatch, {4 * n: ("File", never) for n in range(1, 20)})
    names = Names(1, patience_s=0.01)
    for n in range(1, 20):
        assert names.of(HandleEntry(4 * n, 3, 10, 0)) == ("File", "")
    asked = sum(kind == ntdll.ObjectNameInformation for _, kind in found.asked)
    assert asked <= open_handles.MOST_STUCK
    (gap,) = names.gaps()
    assert gap.detail is not None and "names of 19 files" in gap.detail


def test_handles_that_may_not_be_duplicated_have_types(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {4: ("Key", "\\k"), 8: ("Key", "\\l")})
    monkeypatch.setattr(objects, "query_types", lambda: (b"", 0))
    files, gaps = read_handles(PID, None)
    assert [(file.kind, file.path) for file in files] == [("type 10", ""), ("type 10", "")]
    assert gaps == [Gap("open_files.path", Reason.DENIED, "its handles may not be duplicated")]


def test_objects_that_refuse_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = install(monkeypatch, {4: ("Key", "\\k"), 8: ("Key", "\\l")})
    answer = found.query
    refuse = ctypes.c_int32(0xC0000022).value

    def query(handle: int, kind: int, *rest: Any) -> int:
        return refuse if handle == OURS + 8 else answer(handle, kind, *rest)

    script(monkeypatch, ntdll.ntdll, NtQueryObject=query)
    files, gaps = read_handles(PID, 1)
    assert [file.path for file in files] == ["\\k", ""]
    assert gaps == [Gap("open_files.path", Reason.DENIED, "1 objects did not tell their names")]
    assert found.open == set()
