"""A session answers, and masks what leaves it."""

import os
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

import hostscope
from hostscope import platforms
from hostscope.errors import Denied, Unsupported, UsageError
from hostscope.model.detail import ProcessDetail, Variable
from hostscope.model.process import Account, Cpu
from hostscope.model.request import ProcessRequest
from hostscope.model.response import ActRequest
from hostscope.model.service import ScmEntry, ServiceState
from hostscope.model.windows import Token, WindowsContext
from hostscope.platforms.base import Host
from hostscope.platforms.columnar import join_arguments
from hostscope.session import LocalSession, Session, open_session
from tests.fake import ALICE, ROOT, Answers, FakeProcesses, host, process

SECRET = "--password=hunter2"
SHOWN, MASKED = ("app", SECRET), ("app", "--password=***")


def box(viewer: Account = ROOT, name: str = "linux") -> Host:
    """Alice's and root's process, and ourselves running as `viewer`."""
    rows = [
        process(1, "a", 0, user=ROOT, argv=SHOWN),
        process(2, "b", user=ALICE, argv=SHOWN),
        process(os.getpid(), "me", user=viewer),
    ]
    detail = ProcessDetail(environment=(Variable("TOKEN", "hunter2"),))
    return host(*rows, name=name, details={1: detail, 2: detail})


def arguments(session: LocalSession) -> list[tuple[str, ...] | None]:
    return [row.argv for row in session.processes()][:2]


def test_secrets_are_masked_and_counted() -> None:
    answer = LocalSession(box()).processes()
    assert [row.argv for row in answer][:2] == [MASKED, MASKED]
    assert answer.coverage.notes == (
        "2 processes have masked arguments, shown or not (what looks like a secret); "
        "--reveal is for root, an administrator or their owner",
    )


def test_root_may_see_everything_and_a_user_what_is_its_own() -> None:
    assert arguments(LocalSession(box(ROOT), reveal=True)) == [SHOWN, SHOWN]
    assert arguments(LocalSession(box(ALICE), reveal=True)) == [MASKED, SHOWN]
    assert arguments(LocalSession(box(Account("7", None)), reveal=True)) == [MASKED, MASKED]
    assert arguments(LocalSession(host(process(2, argv=SHOWN)), reveal=True)) == [MASKED]


@pytest.mark.parametrize(
    ("owner", "elevated", "shown"),
    [("S-1-5-18", None, SHOWN), ("S-1-5-21-1-2-3-1001", True, SHOWN), ("S-1-5-21-1-2-3-1001", False, MASKED),
     ("S-1-5-21-1-2-3-1001", None, MASKED)],
)  # fmt: skip
def test_on_windows_elevated_administrators_may_see_everything(
    owner: str, elevated: bool | None, shown: tuple[str, ...]
) -> None:
    windows = WindowsContext(token=Token(elevated=elevated))
    ourselves = process(os.getpid(), "me", user=Account(owner, None), windows=windows)
    theirs = process(2, "b", user=Account("S-1-5-19", None), argv=SHOWN, windows=WindowsContext())
    ours = process(3, "c", user=Account(owner, None), argv=SHOWN, windows=WindowsContext())
    assert arguments(LocalSession(host(theirs, ours, ourselves, name="windows"), reveal=True)) == [shown, SHOWN]


def test_a_recording_shows_what_it_holds() -> None:
    assert arguments(LocalSession(box(name="replay"), reveal=True)) == [SHOWN, SHOWN]
    assert arguments(LocalSession(box(name="replay"))) == [MASKED, MASKED]


def test_revealing_asks_for_the_owner() -> None:
    asked = box(ALICE)
    LocalSession(asked, reveal=True).processes(ProcessRequest(fields=frozenset({"argv"}))).rows()
    assert isinstance(asked.processes, FakeProcesses)
    assert asked.processes.requests[-1].fields == {"argv", "owner"}


def test_every_exit_masks() -> None:
    session = LocalSession(box())
    assert session.process(1).argv == MASKED
    assert session.process("2@2").argv == MASKED
    assert [row.process.argv for row in session.process_tree()][:2] == [MASKED, MASKED]
    assert session.snapshot("processes").rows()[0].argv == MASKED
    inspection = session.inspect(2)
    assert inspection.process.argv == MASKED
    assert inspection.ancestors[0].argv == MASKED
    assert inspection.detail.environment == (Variable("TOKEN", "***"),)
    assert next(session.snapshots(ProcessRequest(), threading.Event())).rows()[0].argv == MASKED


def test_an_inspection_reveals_to_those_who_may_see() -> None:
    found = LocalSession(box(ALICE), reveal=True).inspect("2")
    assert found.process.argv == SHOWN
    assert found.ancestors[0].argv == MASKED
    assert found.detail.environment == (Variable("TOKEN", "hunter2"),)


def test_columns_are_masked_unless_root_reveals() -> None:
    assert list(LocalSession(box()).columns()[0]["argv"])[:2] == [join_arguments(MASKED)] * 2
    assert list(LocalSession(box(ALICE), reveal=True).columns()[0]["argv"])[:2] == [join_arguments(MASKED)] * 2
    revealed, coverage = LocalSession(box(ROOT), reveal=True).columns()
    assert list(revealed["argv"])[:2] == [join_arguments(SHOWN)] * 2
    assert list(revealed["pid"])[:2] == [1, 2]
    assert coverage.rows == len(revealed["pid"])


def test_arrow() -> None:
    pytest.importorskip("pyarrow")
    session = LocalSession(box())
    assert session.to_arrow().num_rows == session.to_arrow(session.processes()).num_rows > 0
    table = session.to_arrow(session.processes(), "pid,argv")
    assert table.column("argv")[0].as_py() == "app --password=***"


def test_commands_of_services_are_masked(tmp_path: Path) -> None:
    """systemd-run makes a description of the command that it is given."""
    unit = ServiceState("run-u1.service", "systemd", description=f"/usr/bin/app {SECRET}")
    listed = ServiceState("Spooler", "scm", scm=ScmEntry("own-process", command=f"C:\\app.exe {SECRET}"))
    plain = ServiceState("systemd-ask-password.service", "systemd", description="Forward Password Requests to Wall")
    units = host(process(os.getpid(), user=ROOT), answers=Answers(services=[unit, listed, plain]))
    answer = LocalSession(units).services()
    shown = answer.rows()
    assert "hunter2" not in repr(shown) and shown[0].description == "/usr/bin/app --password=***"
    assert shown[2] is plain and answer.coverage.notes[-1].startswith("2 units have masked arguments")
    assert LocalSession(units, reveal=True).services().rows() == [unit, listed, plain]
    for reveal in (False, True):
        LocalSession(units, reveal).record(str(tmp_path / "x"))
        assert ("hunter2" in (tmp_path / "x").read_text()) is reveal


def test_tables_and_streams_that_do_not_exist() -> None:
    session = LocalSession(box())
    with pytest.raises(UsageError, match="no table 'nope'"):
        session.snapshot("nope")
    with pytest.raises(UsageError, match="no stream"):
        session.stream("processes", threading.Event())
    assert list(session.stream("services", threading.Event())) == []


def test_nothing_acts_on_the_past() -> None:
    session = LocalSession(box(name="replay"))
    with pytest.raises(Unsupported, match="in a recording and cannot be acted on"):
        session.plan(ActRequest("terminate", (str(session.processes().rows()[0].pid),)))


def test_every_table_has_a_verb() -> None:
    session = LocalSession(box())
    assert session.counters().rows()
    assert session.containers().rows() == []
    assert session.services().rows() == []
    assert session.abilities().rows() == []
    assert session.host().info.hostname == "box"


def test_snapshots_compare_with_the_one_before() -> None:
    sweeps = [[process(1, cpu=Cpu(0, 0))], [process(1, cpu=Cpu(10**9, 0))]]
    session, stop = LocalSession(host(sweeps=sweeps)), threading.Event()
    first, second = (answer.rows()[0] for answer in islice(session.snapshots(ProcessRequest(), stop, 0.01), 2))
    assert first.cpu is not None and first.cpu.ratio is None
    assert second.cpu is not None and second.cpu.ratio is not None and second.cpu.ratio > 0


def test_snapshots_end_when_told() -> None:
    session, stop = LocalSession(box()), threading.Event()
    snapshots = session.snapshots(ProcessRequest(), stop, 3600)
    next(snapshots)
    stop.set()
    assert list(snapshots) == []


def test_a_recording_of_everyone_reveals_only_for_root(tmp_path: Path) -> None:
    with pytest.raises(Denied, match="root"):
        LocalSession(box(ALICE), reveal=True).record(str(tmp_path / "x"))
    assert not list(tmp_path.iterdir())
    LocalSession(box()).record(str(tmp_path / "masked"))
    assert b"hunter2" not in (tmp_path / "masked").read_bytes()
    LocalSession(box(ROOT), reveal=True).record(str(tmp_path / "revealed"))
    assert b"hunter2" in (tmp_path / "revealed").read_bytes()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    calls: list[str | None] = []

    def open_host(replay: str | None = None) -> Host:
        calls.append(replay)
        return box()

    monkeypatch.setattr(platforms, "open_host", open_host)
    yield calls


def test_opening(opened: list[str | None]) -> None:
    with open_session(replay="file") as session:
        checked: Session = session
        assert checked.processes().rows()
    with hostscope.open_session() as session:
        assert isinstance(session, LocalSession)
    assert opened == ["file", None]
    assert hostscope.Session is Session
