"""Finished records: their container, their place among the system's own, and threads with other tokens."""

from collections.abc import Iterator
from typing import Any

import pytest

from hostscope.model.container import Container
from hostscope.model.gap import Reason
from hostscope.model.key import ProcessKey
from hostscope.model.process import Account, Executable, Process, Session
from hostscope.model.security import Security
from hostscope.model.windows import Job, Token, WindowsContext
from hostscope.platforms.windows import roles
from hostscope.platforms.windows.native import folders, handles, token
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.security_context import SecurityContext, SecurityContexts
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.scripted_security import Kernel

BOTH = frozenset({"security", "cgroup"})
IMPERSONATING, PLAIN, ENDED, CLOSED, ANONYMOUS = 11, 12, 13, 14, 15


class Placed:
    """Stands for `Containers`."""

    def __init__(self, found: Container | None) -> None:
        self.found = found
        self.asked: list[tuple[object, ...]] = []

    def at(self, *facts: object) -> Container | None:
        self.asked.append(facts)
        return self.found


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    roles._root.cache_clear()
    made = Kernel(monkeypatch)
    made.refusals["OpenProcess"] = 87  # parents have ended
    yield made
    roles._root.cache_clear()


def process(**changes: object) -> Process:
    known: dict[str, object] = {
        "key": ProcessKey("boot", 0, 700, 1), "ppid": 600, "name": "lsass.exe", "argv": ("lsass.exe",),
        "exe": Executable("C:\\Windows\\System32\\lsass.exe"), "owner": Account("S-1-5-18", None),
        "session": Session(0, None, None), "windows": WindowsContext(token=Token(), native_path="\\Device\\X"),
    }  # fmt: skip
    return Process(**(known | changes))  # type: ignore[arg-type]


def contexts(found: Container | None = None) -> tuple[SecurityContexts, Placed]:
    placed: Any = Placed(found)
    return SecurityContexts(containers=placed), placed


def test_the_systems_own(kernel: Kernel) -> None:
    made, placed = contexts()
    found = made.place(process(), SecurityContext(subsystem=False), BOTH)
    assert found.windows and found.windows.system_process == "lsass"
    assert placed.asked == [(700, "lsass.exe", ("lsass.exe",), "\\Device\\X", "S-1-5-18", False)]
    assert found.gaps == ()


def test_nothing_is_asked_for_what_is_not_wanted(kernel: Kernel) -> None:
    made, placed = contexts(Container("docker", "abc"))
    assert made.place(process(), SecurityContext(), frozenset({"owner"})) == process()
    assert placed.asked == []
    only = made.place(process(), SecurityContext(), frozenset({"security"}))
    assert only.container is None and only.windows and only.windows.system_process == "lsass"


def test_a_container_makes_its_job_a_silo(kernel: Kernel) -> None:
    inside = process(
        windows=WindowsContext(job=Job(None, None, None)), exe=Executable("C:\\x.exe"), security=Security((), ("job",))
    )
    told = Container("docker", "abc", source="state")
    found = contexts(told)[0].place(inside, SecurityContext(), BOTH)
    assert found.container == told and found.windows
    assert found.windows.job == Job(True, True, "abc")
    assert found.security and found.security.confined_by == ("job", "server silo")
    guessed = contexts(Container("unknown", "abc", source="heuristic"))[0].place(inside, SecurityContext(), BOTH)
    assert guessed.windows and guessed.windows.job == Job(None, None, None)


def test_a_root_that_nobody_tells_is_a_gap(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, folders.kernel32, GetSystemWindowsDirectoryW=_refused)
    found = contexts()[0].place(process(), SecurityContext(), BOTH)
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("windows.system_process", Reason.DENIED)]


def _refused(*arguments: object) -> int:
    set_last_error(5)
    return 0


def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_thread(access: int, inherit: bool, tid: int) -> int:
        set_last_error(87 if tid == ENDED else 5)
        return 0 if tid in (ENDED, CLOSED) else tid

    def open_token(thread: int, access: int, own: bool, into: Any) -> int:
        set_last_error(token.ERROR_CANT_OPEN_ANONYMOUS if thread == ANONYMOUS else token.ERROR_NO_TOKEN)
        into._obj.value = 1
        return int(thread == IMPERSONATING)

    script(monkeypatch, handles.kernel32, OpenThread=open_thread)
    script(monkeypatch, token.advapi32, OpenThreadToken=open_token)


def test_threads_that_run_with_another_token(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    threads(monkeypatch)
    found = contexts()[0].with_threads(process(), [IMPERSONATING, PLAIN, ENDED, ANONYMOUS])
    assert found.windows and found.windows.token
    assert found.windows.token.impersonating == (IMPERSONATING, ANONYMOUS) and found.gaps == ()


def test_threads_that_cannot_be_looked_at(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    threads(monkeypatch)
    found = contexts()[0].with_threads(process(), [CLOSED, IMPERSONATING, CLOSED])
    assert [(gap.field, gap.reason) for gap in found.gaps] == [("windows.token.impersonating", Reason.DENIED)]
    assert found.windows and found.windows.token and found.windows.token.impersonating == (IMPERSONATING,)


def test_a_record_without_a_token_stays_as_it_is(kernel: Kernel) -> None:
    bare = process(windows=WindowsContext())
    assert contexts()[0].with_threads(bare, [PLAIN]) is bare
