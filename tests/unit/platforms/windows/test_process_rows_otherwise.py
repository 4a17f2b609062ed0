"""Rows of scripted Windows processes from Toolhelp's snapshots, as columns, and beside other views."""

import pytest

from hostscope.errors import Denied, NativeError
from hostscope.model.gap import Reason
from hostscope.model.process import Io, Memory
from hostscope.model.request import FULL, ProcessRequest
from hostscope.platforms.columnar import names_of
from hostscope.platforms.tally import Tally
from tests.unit.platforms.windows.scripted import BOOTED, Program, Thread
from tests.unit.platforms.windows.scripted_processes import (
    DENIED,
    HANDLE,
    Answers,
    Computer,
    Contexts,
)
from tests.unit.platforms.windows.scripted_rows import EVERYTHING, ORDINARY, PARENT, gaps, processes, sweep


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    return Computer([PARENT, ORDINARY]).install(monkeypatch)


# Toolhelp -----------------------------------------------------------------------------------------------------------


def test_toolhelp_is_the_fallback_and_says_why(computer: Computer) -> None:
    computer.refuse["NtQuerySystemInformation:5"] = DENIED
    rows, tally = sweep()
    assert list(rows) == [8, 100]
    assert tally.method == "toolhelp"
    assert tally.method_reason == "the kernel's list cannot be had: NtQuerySystemInformation: access denied"
    with pytest.raises(Denied):
        sweep(ProcessRequest(method="native"))


def test_toolhelp_tells_the_same_as_far_as_it_can(computer: Computer) -> None:
    by_list, by_toolhelp = sweep()[0][100], sweep(ProcessRequest(fields=FULL, method="toolhelp"))[0][100]
    for name in (
        "key",
        "ppid",
        "name",
        "started_at_ns",
        "exe",
        "argv",
        "cwd",
        "session",
        "threads",
        "open_files",
        "cpu",
    ):
        assert getattr(by_list, name) == getattr(by_toolhelp, name), name
    assert by_toolhelp.memory == Memory(800, 500, None, None, 900, 600)
    assert by_toolhelp.io == Io(None, None, 11, 12)
    assert gaps(by_toolhelp) == {
        "state": Reason.UNSUPPORTED, "activity": Reason.UNSUPPORTED, "io.read_bytes": Reason.UNSUPPORTED,
        "io.written_bytes": Reason.UNSUPPORTED, "windows.memory.private_resident_bytes": Reason.UNSUPPORTED,
    }  # fmt: skip


TOOLHELP_CALLS = {
    "GetProcessIoCounters": {"io"},
    "GetProcessHandleCount": {"open_files", "windows.handles"},
    "ProcessIdToSessionId": {"session"},
    "NtQueryInformationProcess:3": {"memory", "windows.memory"},
    "OpenProcess": {"key.start", "started_at_ns", "cpu", "memory", "windows.memory", "io", "open_files", "argv"},
}


@pytest.mark.parametrize("call", TOOLHELP_CALLS)
def test_with_toolhelp_too_a_refusal_costs_its_fields_only(computer: Computer, call: str) -> None:
    computer.refuse[call] = DENIED
    rows, tally = sweep(ProcessRequest(fields=FULL, method="toolhelp"))
    denied = {field for field, reason in gaps(rows[100]).items() if reason is Reason.DENIED}
    assert TOOLHELP_CALLS[call] <= denied
    assert call == "OpenProcess" or denied == TOOLHELP_CALLS[call]
    assert (tally.vanished, tally.failed) == (0, 0)


def test_with_toolhelp_parents_are_verified_too(computer: Computer) -> None:
    computer.programs[0] = Program(8, "taker.exe", created=BOOTED + 8, threads=(Thread(12),))
    rows, _ = sweep(ProcessRequest(fields=frozenset(), method="toolhelp"))
    assert rows[100].ppid is None


def test_without_any_list_the_request_fails(computer: Computer) -> None:
    computer.refuse |= {"NtQuerySystemInformation:5": DENIED, "CreateToolhelp32Snapshot": 8}
    with pytest.raises(NativeError):
        sweep()


# Columns and views --------------------------------------------------------------------------------------------------


def test_columns_hold_the_same(computer: Computer) -> None:
    pytest.importorskip("numpy")
    columns = processes().columns(EVERYTHING, Tally())
    assert columns.keys() == names_of(FULL)
    assert columns["pid"].tolist() == [8, 100]
    assert columns["resident_bytes"].tolist() == [0, 500]
    assert columns["argv"].tolist() == [b"a.exe\0", b"a.exe\0"]


def test_views_show_a_process_that_was_taken_out_of_the_list(computer: Computer) -> None:
    computer.system.programs = [Program(0, ""), PARENT]
    views = {view.name: view for view in processes().views()}
    assert views["listing"].pids == {8}
    assert views["toolhelp"].pids == views["enum_processes"].pids == views["probe"].pids == {8, 100}
    assert not any(view.gaps for view in views.values())


def test_a_view_that_is_refused_is_empty_with_a_gap(computer: Computer) -> None:
    computer.refuse |= {
        "EnumProcesses": DENIED,
        "CreateToolhelp32Snapshot": DENIED,
        "NtQuerySystemInformation:5": DENIED,
    }
    views = {view.name: view for view in processes().views()}
    for name in ("listing", "toolhelp", "enum_processes"):
        assert views[name].pids == frozenset() and views[name].gaps, name
    assert views["probe"].pids == {8, 100}


def test_the_probe_knows_refused_processes_and_those_that_ended(computer: Computer) -> None:
    computer.refuse["OpenProcess:100"] = DENIED
    computer.answers[8] = Answers(ended=BOOTED + 20)
    views = {view.name: view for view in processes().views()}
    assert views["probe"].pids == {100}


def test_handles_of_contexts_are_those_of_the_row(computer: Computer) -> None:
    contexts = Contexts()
    list(processes(contexts).sweep(EVERYTHING, Tally()))
    assert contexts.asked == [(8, HANDLE + 8), (100, HANDLE + 100)]
