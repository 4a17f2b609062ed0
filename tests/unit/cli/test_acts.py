"""kill, suspend, resume and audit as typed, on a host in memory."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostscope.audit import AuditTrail
from hostscope.cli.acts import exit_code, planned_code
from hostscope.model.response import Act, ActRequest, Outcome, Plan, Step
from hostscope.platforms.base import Host
from hostscope.respond.guard import OVERRIDABLE, RULES
from tests.fake import key
from tests.fake_control import FakeControl, control_of
from tests.unit.cli.conftest import Run


@pytest.fixture
def control(asked: Host, monkeypatch: pytest.MonkeyPatch) -> FakeControl:
    found = control_of(asked)
    monkeypatch.setattr("hostscope.respond.local.open_control", lambda name: found)
    return found


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditTrail:
    monkeypatch.setenv("HOSTSCOPE_AUDIT", str(tmp_path / "audit.jsonl"))
    return AuditTrail(tmp_path / "audit.jsonl")


def test_a_dry_run_shows_the_plan(hostscope: Run, control: FakeControl, trail: AuditTrail) -> None:
    found = hostscope("kill", "--dry-run", "sleep")
    assert (found.code, control.sent) == (0, [])
    assert found.out.splitlines()[0] == "Terminate 1 process (ask, force after 5 s)"
    assert "32@32#32032  sleep  alice  sleeping  ready  sleep 32" in found.out
    assert [line.outcome for line in trail.entries()] == ["dry run: would terminate"]


def test_a_dry_run_of_a_refused_act_exits_with_7(hostscope: Run, control: FakeControl) -> None:
    found = hostscope("kill", "--dry-run", "1")
    assert found.code == 7
    assert "init      1@1#1001 init: it is PID 1, which the kernel protects from us. shut the host" in found.out


def test_yes_acts(hostscope: Run, control: FakeControl, trail: AuditTrail) -> None:
    found = hostscope("suspend", "--yes", "sleep", "--reason", "drill")
    assert (found.code, control.sent) == (0, [("stop", 32)])
    assert found.out.startswith("Suspend: 1 done\n")
    assert [line.why for line in trail.entries()] == ["drill", "drill"]
    assert hostscope("resume", "--yes", "32").code == 0
    assert hostscope("kill", "--yes", "32", "--grace", "0").code == 0
    assert control.sent == [("stop", 32), ("cont", 32), ("kill", 32)]


def test_nothing_is_done_that_cannot_be_told(hostscope: Run, control: FakeControl, tmp_path: Path) -> None:
    found = hostscope("kill", "--yes", "sleep", "--output", str(tmp_path / "none" / "file"))
    assert (found.code, control.sent) == (2, [])
    told = tmp_path / "act.json"
    assert hostscope("suspend", "--yes", "32", "--format", "json", "--output", str(told)).code == 0
    assert json.loads(told.read_bytes())["act"]["outcomes"][0]["result"] == "done"


def test_who_interrupts_it_is_told_where_to_look(hostscope: Run, control: FakeControl) -> None:
    def interrupt(signal: str, pid: int) -> None:
        raise KeyboardInterrupt

    control.on_signal = interrupt
    found = hostscope("suspend", "--yes", "sleep")
    assert (found.code, "hint: what was done until then: hostscope audit show" in found.err) == (130, True)


def test_without_a_terminal_and_yes_it_is_refused(hostscope: Run, control: FakeControl, trail: AuditTrail) -> None:
    found = hostscope("kill", "sleep")
    assert (found.code, control.sent) == (7, [])
    assert "hostscope: terminate needs to be confirmed\nhint: give --yes" in found.err
    assert [line.outcome for line in trail.entries()] == ["refused: not confirmed"]


def test_the_guard_speaks_before_the_confirmation(hostscope: Run, control: FakeControl) -> None:
    found = hostscope("kill", "1")
    assert found.code == 7
    assert "(rule init)" in found.err and "confirmed" not in found.err
    assert hostscope("kill", "--yes", "1").code == 7


def test_help_names_every_rule(hostscope: Run) -> None:
    text = hostscope("kill", "--help").out
    rules = text[text.index("Rules of the guard: ") :].partition("Exit codes")[0]
    assert all(name in rules for name in (*RULES, *OVERRIDABLE))


def test_json(hostscope: Run, control: FakeControl) -> None:
    plan = json.loads(hostscope("kill", "--dry-run", "sleep", "--format", "json").out)
    assert plan["schema"] == "hostscope.plan/1"
    assert plan["plan"]["steps"][0]["key"]["serial"] == 32032
    act = json.loads(hostscope("kill", "--yes", "sleep", "--format", "json").out)
    assert (act["schema"], act["act"]["outcomes"][0]["result"]) == ("hostscope.act/1", "done")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("kill", "--yes"), 2),
        (("kill", "--yes", "nobody-is-called-so"), 3),
        (("kill", "--yes", "32@99"), 5),
        (("kill", "--yes", "32@32#1"), 5),
        (("kill", "--yes", "32", "--override", "init"), 2),
        (("kill", "--yes", "32", "--grace", "-1"), 2),
        (("kill", "--yes", "--container", "nope"), 3),
        (("suspend", "--yes", "--container", "c0ffee", "--tree"), 2),
    ],
)
def test_bad_input(hostscope: Run, control: FakeControl, arguments: tuple[str, ...], code: int) -> None:
    found = hostscope(*arguments)
    assert (found.code, control.sent) == (code, [])
    assert found.err.startswith("hostscope: ")


def outcomes(action: str, *results: str, complete: bool = True) -> Act:
    plan = Plan(ActRequest(action), 0, tuple(Step(key(place), "x", "ready") for place in range(len(results))), 0)
    return Act(plan, tuple(Outcome(key(place), "x", result) for place, result in enumerate(results)), (), complete)


@pytest.mark.parametrize(
    ("action", "results", "code"),
    [
        ("terminate", ("done",), 0),
        ("terminate", ("done", "gone"), 0),
        ("suspend", ("done", "gone"), 8),
        ("terminate", ("gone",), 3),
        ("terminate", ("denied", "denied"), 4),
        ("terminate", ("mismatch", "denied"), 5),
        ("terminate", ("done", "denied"), 8),
        ("terminate", ("survived",), 8),
        ("suspend", ("pending",), 8),
    ],
)
def test_exit_codes(action: str, results: tuple[str, ...], code: int) -> None:
    assert exit_code(outcomes(action, *results)) == code


@pytest.mark.parametrize("action", ["suspend", "resume"])
def test_what_has_ended_leaves_nothing_of_a_tree_or_container_to_stop(action: str) -> None:
    act = outcomes(action, "done", "gone")
    steps = (act.plan.steps[0], replace(act.plan.steps[1], depth=1))
    assert exit_code(replace(act, plan=replace(act.plan, steps=steps))) == 0
    assert exit_code(replace(act, plan=replace(act.plan, container="c0ffee"))) == 0
    assert exit_code(outcomes(action, "gone")) == 3


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        (("ready",), 0),
        (("ready", "ended"), 0),
        (("ready", "denied"), 8),
        (("denied", "denied"), 4),
        (("denied", "ended"), 4),
        (("ended",), 3),
    ],
)
def test_exit_codes_of_dry_runs(expected: tuple[str, ...], code: int) -> None:
    steps = tuple(Step(key(number), "x", status) for number, status in enumerate(expected, 50))
    assert planned_code(Plan(ActRequest("terminate"), 0, steps, 5)) == code


def test_what_may_be_left_is_incomplete() -> None:
    assert exit_code(outcomes("terminate", "done", complete=False)) == 8


def test_a_whole_trail(hostscope: Run, trail: AuditTrail) -> None:
    last = [trail.append("act.test", what=str(number)) for number in range(3)][-1]
    found = hostscope("audit", "verify")
    assert (found.code, found.out) == (0, f"{trail.path}: 3 lines fit; the last has number 2 and hash {last.hash}\n")


def test_a_changed_line_is_named(hostscope: Run, trail: AuditTrail) -> None:
    for number in range(3):
        trail.append("act.test", what=str(number))
    trail.path.write_bytes(trail.path.read_bytes().replace(b'"what":"1"', b'"what":"7"'))
    found = hostscope("audit", "verify", "--format", "json")
    document = json.loads(found.out)
    assert (found.code, document["schema"]) == (10, "hostscope.audit_verification/1")
    assert document["verification"]["files"][0]["fault"] == {"line": 2, "problem": "hash does not match its content"}


def test_a_cut_and_a_torn_end_are_missing_lines(hostscope: Run, trail: AuditTrail) -> None:
    for number in range(3):
        trail.append("act.test", what=str(number))
    whole = trail.path.read_bytes()
    trail.path.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    found = hostscope("audit", "verify")
    assert found.code == 8
    assert "missing:" in found.out and "1 lines are missing at the end: 2 was the last, here it is 1" in found.out
    trail.path.write_bytes(whole[:-20])
    found = hostscope("audit", "verify")
    assert found.code == 8
    assert "the last line was never finished" in found.out


def test_parts_of_a_rotated_trail(hostscope: Run, trail: AuditTrail, tmp_path: Path) -> None:
    parts = []
    for part in range(3):
        for number in range(2):
            trail.append("act.test", what=f"{part} {number}")
        parts.append(str(trail.path.rename(tmp_path / f"audit.{part}")))
    found = hostscope("audit", "verify", *parts)
    assert (found.code, found.out.splitlines()[-1]) == (
        0, f"{parts[2]}: no mark beside it tells whether lines are missing at its end"
    )  # fmt: skip
    found = hostscope("audit", "verify", parts[0], parts[2])
    assert found.code == 8
    assert f"{parts[2]} begins with line 4, where 2 was due" in found.out
    assert hostscope("audit", "verify", parts[1]).code == 8


def test_no_trail(hostscope: Run, trail: AuditTrail) -> None:
    found = hostscope("audit", "verify", "/nowhere/audit.jsonl")
    assert found.code == 6
    assert "there is no audit trail" in found.err and "nothing was recorded" in found.err


def test_lines_are_shown_and_filtered(hostscope: Run, trail: AuditTrail) -> None:
    trail.append("privilege.raise", what="bpf")
    trail.append("act.terminate", what="42@99 x\x1b[31m", why="drill", before="sleeping", after="ended")
    found = hostscope("audit", "show", "--filter", 'action == "act.terminate"', "--columns", "seq,action,why,what")
    assert found.out.splitlines()[1] == "  1  act.terminate  drill  42@99 x\\x1b[31m"
    rows = json.loads(hostscope("audit", "show", "--format", "json").out)
    assert rows["rows"][0]["schema"] == "hostscope.audit/1"
    assert [row["action"] for row in rows["rows"]] == ["privilege.raise", "act.terminate"]


def test_what_is_no_trail_is_not_shown_as_an_empty_one(hostscope: Run, tmp_path: Path) -> None:
    foreign = tmp_path / "syslog"
    foreign.write_bytes(b"Nov 22 host sshd[1]: Accepted\n\xff\x00{\n")
    found = hostscope("audit", "show", str(foreign))
    assert (found.code, "; 2 failed\n" in found.out, "audit verify tells where" in found.out) == (0, True, True)
    assert hostscope("audit", "show", str(foreign), "--strict").code == 8
