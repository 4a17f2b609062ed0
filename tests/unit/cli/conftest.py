"""Commands against a host in memory, and against a recording of it in a process of their own."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from hostscope import log, platforms
from hostscope.audit import AuditTrail, default_path
from hostscope.cli.main import run
from hostscope.model.container import Container
from hostscope.model.event import Event, ServiceChange
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import Ability, ProcessView
from hostscope.model.request import ProcessRequest
from hostscope.model.service import ServiceState
from hostscope.platforms.base import Host
from hostscope.platforms.replay.writer import record
from tests.fake import ALICE, BOOTED_AT_NS, Answers, host, process, with_gaps
from tests.fake_control import control_of

ROWS = (
    process(1, "init", 0),
    process(2, "kthreadd", 0, kernel=True, argv=None, exe=None),
    process(30, "sshd", 1, argv=("sshd", "--password=hunter2")),
    with_gaps(process(31, "bash", 30, user=ALICE, argv=("-bash", "\x1b[31mred\n")), Gap("io", Reason.DENIED)),
    process(32, "sleep", 31, user=ALICE),
)
BEFORE = ServiceState("web.service", "systemd", state="active", substate="running")
AFTER = ServiceState("web.service", "systemd", state="failed")


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


def box() -> Host:
    """A small host with a bit of everything."""
    answers = Answers(
        containers=[Container("docker", "c0ffee" * 10, "shop", "nginx:1", source="state")],
        services=[BEFORE, ServiceState("bad.service", "systemd", state="failed")],
        events=[Event("s/1", "dbus", n, BOOTED_AT_NS, n, None, ServiceChange(BEFORE, AFTER)) for n in range(3)],
        ports={22: (30,)},
        abilities=(Ability("proc", True, "always"), Ability("iterator", False, "needs CAP_BPF", "run as root")),
    )
    pids = frozenset(row.key.pid for row in ROWS)
    return host(*ROWS, answers=answers, looks=[[ProcessView("listing", pids), ProcessView("probe", pids)]])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Host:
    """The host that commands ask unless they are given a recording; tests may change what it says."""
    found, really = box(), platforms.open_host
    monkeypatch.setattr(platforms, "open_host", lambda replay=None: really(replay) if replay else found)
    monkeypatch.setattr("hostscope.respond.local.open_control", lambda name: control_of(found))
    monkeypatch.setattr("hostscope.respond.scene.getpid", lambda: 31)
    AuditTrail(default_path()).append("test")
    return found


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long to watch is counted in looks at the clock: 3 are two looks, however busy this machine is."""
    ticks = count()
    monkeypatch.setattr("hostscope.cli.refresh.monotonic", lambda: next(ticks))


@pytest.fixture
def hostscope(asked: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process."""
    monkeypatch.setattr(log, "configure", lambda verbosity: None)

    def start(*arguments: str) -> Result:
        code = run(list(arguments))
        written = capsys.readouterr()
        return Result(code, written.out, written.err)

    return start


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small host with 3,000 more processes, recorded."""
    path = tmp_path_factory.mktemp("recording") / "box.hscope"
    many = [*ROWS, *(process(pid, "worker", 1) for pid in range(100, 3100))]
    record(host(*many), str(path), ProcessRequest())
    return path
