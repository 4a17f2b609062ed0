"""Whose scripted Windows processes are: users whom the session service knows, and services."""

import ctypes
from typing import Any

import pytest

from hostscope.errors import Denied
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Account, Process
from hostscope.model.request import BASIC, FULL, ProcessRequest, WindowsOptions
from hostscope.model.service import Service
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.hosting import Read
from hostscope.platforms.windows.native import wtsapi
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.parse_token import sid_bytes, sid_text
from hostscope.platforms.windows.security_context import SecurityContext
from tests.unit.platforms.windows.scripted import BOOTED, Program, Thread, script
from tests.unit.platforms.windows.scripted_processes import (
    Answers,
    Computer,
    Contexts,
)
from tests.unit.platforms.windows.scripted_rows import EVERYTHING, ORDINARY, PARENT, gaps, processes, sweep


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    return Computer([PARENT, ORDINARY]).install(monkeypatch)


# Owners -------------------------------------------------------------------------------------------------------------


class Closed(Contexts):
    """Tokens that are closed to us."""

    def of(self, pid: int, handle: int | None, wanted: frozenset[str]) -> SecurityContext:
        closed = ("owner", "windows.token") if "owner" in wanted else ()
        return SecurityContext(
            gaps=tuple(Gap(field, Reason.DENIED, "OpenProcessToken: access denied") for field in closed)
        )

    def account(self, sid: bytes) -> Account:
        return Account(sid_text(sid), "a name")


def session_service(monkeypatch: pytest.MonkeyPatch, *entries: tuple[int, int, bytes | None]) -> list[str]:
    """Tells pid, session and SID of each; what was called is in the list."""
    calls: list[str] = []
    kept: list[object] = []

    def enumerate_processes(server: int, reserved: int, version: int, into: Any, count: Any) -> int:
        calls.append("WTSEnumerateProcessesW")
        table = (wtsapi.WTS_PROCESS_INFOW * len(entries))()
        for entry, (pid, session, sid) in zip(table, entries, strict=True):
            raw = ctypes.create_string_buffer(sid, len(sid)) if sid else None
            entry.ProcessId, entry.SessionId = pid, session
            entry.pUserSid = ctypes.addressof(raw) if raw else None
            kept.append(raw)
        kept.append(table)
        into._obj.contents, count._obj.value = table[0], len(entries)
        return 1

    script(
        monkeypatch, wtsapi.wtsapi32, WTSEnumerateProcessesW=enumerate_processes,
        WTSFreeMemory=lambda table: calls.append("WTSFreeMemory"),
    )  # fmt: skip
    return calls


ALICE = sid_bytes("S-1-5-21-1-2-3-1001")


def test_the_session_service_knows_owners_of_closed_tokens(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = session_service(monkeypatch, (8, 9, ALICE), (100, 2, ALICE))
    rows = {row.pid: row for row in processes(Closed()).sweep(EVERYTHING, Tally())}
    assert rows[100].owner == Account("S-1-5-21-1-2-3-1001", "a name")
    assert gaps(rows[100])["windows.token.user_sid"] is Reason.DENIED and "owner" not in gaps(rows[100])
    assert "session service" in next(g.detail or "" for g in rows[100].gaps if g.field == "windows.token.user_sid")
    assert rows[8].owner is None and gaps(rows[8])["owner"] is Reason.DENIED  # of another session: another process
    assert calls == ["WTSEnumerateProcessesW", "WTSFreeMemory"]  # once a sweep


def test_an_owner_that_nobody_tells_stays_a_gap(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    session_service(monkeypatch, (100, 2, None), (8, 0, b"\1\0no"))
    rows = {row.pid: row for row in processes(Closed()).sweep(EVERYTHING, Tally())}
    assert {pid: (row.owner, gaps(row)["owner"]) for pid, row in rows.items()} == {
        8: (None, Reason.DENIED), 100: (None, Reason.DENIED),
    }  # fmt: skip

    def refuse(*_: object) -> int:
        set_last_error(1722)
        return 0

    script(monkeypatch, wtsapi.wtsapi32, WTSEnumerateProcessesW=refuse)
    rows = {row.pid: row for row in processes(Closed()).sweep(EVERYTHING, Tally())}
    assert gaps(rows[100])["owner"] is Reason.DENIED


def test_the_session_service_is_not_asked_where_tokens_are_open(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = session_service(monkeypatch, (100, 2, ALICE))
    assert sweep()[0][100].owner == Account("S-1-5-18", "SYSTEM") and calls == []


# Services -----------------------------------------------------------------------------------------------------------


def hosted(computer: Computer, services: Read, request: ProcessRequest = EVERYTHING) -> Process:
    computer.programs[1] = Program(100, "svchost.exe", ppid=8, created=BOOTED + 7, threads=(Thread(104),))
    computer.system.programs = computer.programs
    computer.answers[100] = Answers(command_line="C:\\Windows\\system32\\svchost.exe -k netsvcs -p -s Schedule")
    return {row.pid: row for row in processes(services=services).sweep(request, Tally())}[100]


def test_a_process_with_one_service_belongs_to_it(computer: Computer) -> None:
    row = hosted(computer, lambda: {100: ("Schedule",)})
    assert row.service == Service("Schedule", "scm")
    assert row.windows is not None
    assert (row.windows.services, row.windows.service_group) == (("Schedule",), "netsvcs")


def test_a_host_of_several_services_belongs_to_none(computer: Computer) -> None:
    row = hosted(computer, lambda: {100: ("A", "B")}, ProcessRequest(fields=frozenset({"cgroup"})))
    assert row.service is None and row.argv is None
    assert row.windows is not None
    assert (row.windows.services, row.windows.service_group) == (("A", "B"), "netsvcs")


def test_services_are_asked_for_once_and_refused_once(computer: Computer) -> None:
    asked = []

    def refuse() -> dict[int, tuple[str, ...]]:
        asked.append(1)
        raise Denied("the service control manager: access denied")

    row = hosted(computer, refuse)
    assert {field for field, reason in gaps(row).items() if reason is Reason.DENIED} == {"service", "windows.services"}
    assert asked == [1]


def test_services_are_not_asked_for_where_they_are_not_wanted(computer: Computer) -> None:
    def never() -> dict[int, tuple[str, ...]]:
        raise AssertionError

    for request in (
        ProcessRequest(fields=BASIC),
        ProcessRequest(fields=FULL, windows=WindowsOptions(services=False)),
    ):
        row = hosted(computer, never, request)
        assert row.windows is not None and (row.service, row.windows.services) == (None, None)
