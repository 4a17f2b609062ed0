"""The same host, seen by a user without capabilities."""

import os
import platform
import subprocess

import pytest

from hostscope.model.gap import Reason
from hostscope.model.request import BASIC, FULL
from hostscope.platforms.linux.translate import PTRACE_HINT
from tests.zoo.creature import Creature
from tests.zoo.stage import NOBODY, UNPRIVILEGED, Answer, ask

pytestmark = [pytest.mark.system, pytest.mark.root]

REFUSED = {"exe", "cwd", "root", "io", "linux.namespaces"}
"""What proc(5) keeps for the owner and for CAP_SYS_PTRACE. The number of descriptors was among it before Linux 6.2."""


def listed() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}


def ended() -> int:
    """A pid that was just given back."""
    with subprocess.Popen(["true"]) as child:
        child.wait()
    return child.pid


@pytest.fixture(scope="module")
def framed() -> tuple[set[int], Answer, set[int]]:
    """Who was there before, what nobody saw, and who was there after."""
    before = listed()
    answer = ask(FULL, user=UNPRIVILEGED)
    return before, answer, listed()


def test_everyone_has_a_row(framed: tuple[set[int], Answer, set[int]]) -> None:
    before, answer, after = framed
    assert (before & after) - {row.pid for row in answer.rows} == set()
    assert (answer.coverage.denied, answer.coverage.failed, answer.coverage.hidden) == (0, 0, None)
    assert answer.coverage.method == "proc"
    assert all(row.name and row.owner and row.started_at_ns and row.state and row.linux for row in answer.rows)


def test_it_runs_without_any_capability(framed: tuple[set[int], Answer, set[int]]) -> None:
    _, answer, _ = framed
    own = answer.row(answer.pid)
    assert own.owner and own.owner.id == str(NOBODY)
    assert own.linux and own.linux.capabilities
    assert own.linux.capabilities.effective == own.linux.capabilities.bounding == ()
    assert {gap.field for gap in own.gaps} <= {"linux.dumpable"}
    assert own.exe and own.memory and own.io and own.cwd


def test_what_is_refused_is_a_gap_with_a_hint(framed: tuple[set[int], Answer, set[int]]) -> None:
    _, answer, _ = framed
    strangers = [row for row in answer.rows if row.owner and row.owner.id == "0" and not row.kernel and row.memory]
    assert len(strangers) > 3
    for row in strangers:
        denied = {gap.field: gap.detail for gap in row.gaps if gap.reason is Reason.DENIED}
        assert denied.keys() - {"open_files"} == REFUSED, row.pid
        assert set(denied.values()) == {PTRACE_HINT}
        assert (row.exe, row.cwd, row.root, row.io) == (None,) * 4
        assert (row.open_files is None) == ("open_files" in denied)
        assert row.linux and row.linux.namespaces is None
        assert row.argv is not None and row.memory and row.cpu and row.ids and row.linux.capabilities


def test_powers_are_not_guessed_without_namespaces(framed: tuple[set[int], Answer, set[int]]) -> None:
    _, answer, _ = framed
    row = answer.row(os.getpid())
    assert row.security
    assert {power.granted for power in row.security.powers if power.name == "administer_system"} <= {None, False}


def test_the_iterator_is_refused_with_a_reason(framed: tuple[set[int], Answer, set[int]]) -> None:
    _, answer, _ = framed
    assert answer.iterator["error"] in ("Denied", "Unsupported")
    assert answer.iterator["hint"]


def test_gone_is_not_denied() -> None:
    """ESRCH and ENOENT of a process; refused fields of a living one do not refuse its row."""
    with Creature() as child:
        gone = ended()
        answer = ask(BASIC, read=(gone, child.pid), user=UNPRIVILEGED)
        assert answer.reads[gone]["error"] == "Gone"
        assert answer.reads[child.pid] == "read"
        row = answer.row(child.pid)
        assert row.argv == ("creature",)
        assert [(gap.field, gap.reason) for gap in row.gaps] == [("exe", Reason.DENIED)]


def test_a_process_of_its_own_user_that_may_not_be_read() -> None:
    """Not dumpable: its files are root's, so even its own user is refused (EACCES)."""
    with Creature() as child:
        child.do("uids", NOBODY, NOBODY, NOBODY)
        child.do("dumpable", 0)
        row = ask(FULL, user=UNPRIVILEGED).row(child.pid)
        assert row.owner and row.owner.id == str(NOBODY)
        assert {gap.field for gap in row.gaps if gap.reason is Reason.DENIED} - {"open_files"} == REFUSED
        assert row.open_files in (3, None)


@pytest.mark.parametrize(("option", "outcome"), [("2", "Gone"), ("1", "Denied")])
def test_hidden_processes_are_said_to_be_missing(option: str, outcome: str) -> None:
    """hidepid=2: other users' processes do not exist (ENOENT). hidepid=1: they are listed, and refused (EPERM)."""
    if tuple(map(int, platform.release().split(".")[:2])) < (5, 8):
        pytest.skip("before Linux 5.8 all mounts of /proc in a PID namespace share their options")
    with Creature() as child:
        mount = f"mount -t proc -o hidepid={option} proc /proc"
        answer = ask(BASIC, read=(child.pid,), user=UNPRIVILEGED, mount=mount)
        assert {row.owner.id for row in answer.rows if row.owner} == {str(NOBODY)}
        assert answer.row(answer.pid).exe
        assert answer.reads[child.pid]["error"] == outcome
        assert not answer.coverage.complete
        assert ("hidepid" in (answer.coverage.hidden or "")) == (outcome == "Gone")
        assert bool(answer.coverage.denied) == (outcome == "Denied")
        assert not answer.coverage.complete
        assert (answer.coverage.denied > 3) == (outcome == "Denied")
        assert answer.coverage.seen == len(answer.rows) + answer.coverage.denied + answer.coverage.vanished


def test_root_sees_through_hidepid() -> None:
    with Creature() as child:
        answer = ask(BASIC, read=(child.pid,), mount="mount -t proc -o hidepid=2 proc /proc")
        assert answer.row(child.pid).exe
        assert (answer.coverage.hidden, answer.coverage.denied) == (None, 0)
