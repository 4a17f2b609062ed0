"""Plans and acts on a host in memory: order, grace, outcomes, what turns up, what goes wrong, and the trail."""

import itertools
import os

import pytest

from hostscope.errors import Gone, Incomplete, Mismatch, Refused, Unavailable, UsageError
from hostscope.model.container import Container
from hostscope.model.key import ProcessKey
from hostscope.model.response import ActRequest
from hostscope.respond.plan import check
from tests.fake import key, process
from tests.unit.respond.stage import Stage


def results(act: object) -> dict[int, str]:
    return {outcome.key.pid: outcome.result for outcome in act.outcomes}  # type: ignore[attr-defined]


def test_a_plan_shows_whom_it_means(stage: Stage) -> None:
    plan = stage.plan("terminate", "daemon", tree=True)
    assert [(step.key.pid, step.depth) for step in plan.steps] == [(50, 0), (51, 1), (52, 2)]
    assert plan.steps[0].argv == ("daemon", "--password=***")
    assert str(plan.steps[0].key) == "50@50#50050"
    assert plan.grace_s == 0
    assert stage.plan("terminate", "daemon").grace_s == 5
    assert stage.plan("suspend", "daemon").grace_s == 0
    assert stage.control.sent == []


def test_asked_and_gone(stage: Stage) -> None:
    done = stage.act("terminate", 50)
    assert stage.control.sent == [("term", 50)]
    assert results(done) == {50: "done"}


def test_asked_and_forced(stage: Stage) -> None:
    stage.control.stubborn = {50}
    done = stage.act("terminate", 50, grace_s=0.01)
    assert stage.control.sent == [("term", 50), ("kill", 50)]
    assert results(done) == {50: "done"}


def test_what_survives_says_why(stage: Stage) -> None:
    stage.control.immortal = {50: "disk-sleep"}
    (outcome,) = stage.act("terminate", 50, grace_s=0).outcomes
    assert (outcome.result, outcome.after) == ("survived", "disk-sleep")
    assert outcome.detail is not None and "uninterruptible sleep" in outcome.detail


def test_a_stop_that_waits(stage: Stage) -> None:
    stage.control.immortal = {50: "disk-sleep"}
    (outcome,) = stage.act("suspend", 50).outcomes
    assert (outcome.result, outcome.detail) == ("pending", "told to stop, but still disk-sleep")


def test_what_a_tracer_holds_is_stopped_as_long_as_that_wants(stage: Stage) -> None:
    stage.control.immortal = {50: "tracing-stop"}
    (outcome,) = stage.act("suspend", 50).outcomes
    assert (outcome.result, outcome.detail) == ("done", "held by a tracer, which may let it run")


def test_a_tree_is_stopped_from_above_and_ended_from_below(stage: Stage) -> None:
    done = stage.act("terminate", 50, tree=True)
    assert stage.control.sent == [
        ("stop", 50), ("stop", 51), ("stop", 52), ("kill", 52), ("kill", 51), ("kill", 50),
    ]  # fmt: skip
    assert results(done) == {50: "done", 51: "done", 52: "done"}


def test_children_that_turn_up_belong_to_the_tree(stage: Stage) -> None:
    def fork(signal: str, pid: int) -> None:
        if signal == "stop" and pid < 55:
            stage.rows.append(process(pid + 40, "late", pid))

    stage.control.on_signal = fork
    done = stage.act("terminate", 50, tree=True)
    assert set(results(done)) == {50, 51, 52, 90, 91, 92}
    assert set(results(done).values()) == {"done"}
    assert done.complete
    assert not [row for row in stage.rows if row.name in ("late", "worker", "daemon")]


def test_a_tree_that_never_stops_growing_is_said_to_be_incomplete(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostscope.respond.tree.MOST_ROUNDS", 5)
    pids = itertools.count(1000)
    stage.control.on_signal = lambda signal, pid: (
        stage.rows.append(process(next(pids), "late", pid)) if signal == "stop" else None
    )
    done = stage.act("terminate", 50, tree=True)
    assert not done.complete
    assert "faster than they could be stopped" in done.notes[-1]


def test_a_tree_that_is_not_seen_to_stop_is_not_said_to_grow(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostscope.respond.tree.MOST_ROUNDS", 5)
    stage.control.immortal = {51: "sleeping"}  # as what a control group has frozen looks
    done = stage.act("suspend", 50, tree=True)
    assert (done.complete, "were not seen to stop" in done.notes[-1]) == (False, True)


def test_the_guard_speaks_of_what_turns_up_and_all_runs_again(stage: Stage) -> None:
    def fork(signal: str, pid: int) -> None:
        if pid == 52 and signal == "stop":
            stage.rows.append(process(90, "sshd", 50))

    stage.control.roles[90] = stage.control.roles[20]
    stage.control.on_signal = fork
    with pytest.raises(Refused, match="90@90#90090 turned up: it is the host's ssh server"):
        stage.act("terminate", 50, tree=True)
    assert {row.state for row in stage.rows if row.key.pid in (50, 51, 52)} == {"sleeping"}
    assert [line.outcome for line in stage.lines()][1].startswith("refused: process 90")


def forking_in_the_grace(stage: Stage, pid: int) -> None:
    """As soon as 50, which ignores it, is asked to end, it has another child."""
    stage.control.stubborn = {50, 51, 52}

    def fork(signal: str, asked: int) -> None:
        if signal == "term" and asked == 50:
            stage.rows.append(process(pid, "late", 50, argv=("late", "--token=hunter2")))

    stage.control.on_signal = fork


def test_the_guard_speaks_of_what_turns_up_in_the_grace(stage: Stage) -> None:
    forking_in_the_grace(stage, 90)
    stage.control.roles[90] = stage.control.roles[20]
    with pytest.raises(Refused, match="90@90#90090 turned up: it is the host's ssh server"):
        stage.act("terminate", 50, tree=True, grace_s=0.3)
    assert {row.state for row in stage.rows if row.key.pid in (50, 51, 52, 90)} == {"sleeping"}
    assert [name for name, pid in stage.control.sent if name == "kill" or pid == 90] == []


def test_what_turned_up_stands_in_the_trail_with_all_that_is_known(stage: Stage) -> None:
    forking_in_the_grace(stage, 90)
    assert results(stage.act("terminate", 50, tree=True, grace_s=0.3))[90] == "done"
    assert [line.what for line in stage.lines()][-1] == "90@90#90090 /usr/bin/late: late --token=***"


def test_who_was_not_asked_did_not_ignore_it(stage: Stage) -> None:
    forking_in_the_grace(stage, 90)
    done = stage.act("terminate", 50, tree=True, grace_s=0.3, force=False)
    words = {outcome.key.pid: (outcome.result, outcome.detail) for outcome in done.outcomes}
    assert words[50] == ("survived", "it has not ended 0.3 s after SIGTERM")
    assert words[90] == ("survived", "it turned up later, and nobody asked it")


def test_without_force_what_is_stopped_is_asked_too(stage: Stage) -> None:
    stage.act("suspend", 52)
    stage.act("terminate", 50, tree=True, grace_s=0, force=False)
    assert ("term", 52) in stage.control.sent


def test_a_container_by_the_kernel_or_one_by_one(stage: Stage) -> None:
    stage.control.kernel_kills_containers = True
    assert results(stage.act("terminate", container="c0ffee")) == {60: "done", 61: "done"}
    assert stage.control.sent == [("group", 60)]


def test_what_the_kernel_leaves_of_a_container_is_ended_one_by_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group that is found by one of them is not that of all."""

    def end_one(member: ProcessKey, container: Container) -> bool:
        stage.rows[:] = [row for row in stage.rows if row.key.pid != member.pid]
        return True

    monkeypatch.setattr(stage.control, "terminate_container", end_one)
    assert results(stage.act("terminate", container="c0ffee")) == {60: "done", 61: "done"}
    assert stage.control.sent == [("stop", 61), ("kill", 61)]


def test_a_container_is_looked_through_until_it_is_empty(stage: Stage) -> None:
    members = [row for row in stage.rows if row.container]
    late = iter([process(95, "late", 1, container=members[0].container)])

    def join(signal: str, pid: int) -> None:
        if signal == "kill":
            stage.rows.extend(itertools.islice(late, 1))

    stage.control.on_signal = join
    done = stage.act("terminate", container="shop")
    assert results(done) == {60: "done", 61: "done", 95: "done"}


def test_of_some_a_part(stage: Stage) -> None:
    stage.control.forbidden = {51}
    plan = stage.plan("terminate", 50, 51, 70)
    assert [step.status for step in plan.steps] == ["ready", "denied", "ended"]
    assert results(stage.apply(plan)) == {50: "done", 51: "denied", 70: "gone"}


def test_what_changed_hands_after_the_plan(stage: Stage) -> None:
    plan = stage.plan("terminate", 50, 51, 52)
    stage.rows[:] = [row for row in stage.rows if row.key.pid not in (50, 51)]
    stage.rows.append(process(999, "stranger"))
    from msgspec.structs import replace

    stage.rows.append(replace(process(50, "stranger"), key=key(50, 7777)))
    assert results(stage.apply(plan)) == {50: "mismatch", 51: "gone", 52: "done"}
    assert stage.control.sent == [("term", 52)]


def test_what_changes_hands_while_we_act(stage: Stage) -> None:
    def vanish(signal: str, pid: int) -> None:
        raise {50: Gone("gone"), 51: Mismatch("another")}[pid]

    stage.control.on_signal = vanish
    assert results(stage.act("terminate", 50, 51)) == {50: "gone", 51: "mismatch"}


def test_resume(stage: Stage) -> None:
    stage.act("suspend", 50, tree=True)
    assert {row.state for row in stage.rows if row.key.pid in (50, 51, 52)} == {"stopped"}
    done = stage.act("resume", 50, tree=True)
    assert [(outcome.before, outcome.after) for outcome in done.outcomes] == [("stopped", "sleeping")] * 3


def test_the_trail_of_an_act(stage: Stage) -> None:
    stage.act("terminate", 50, reason="it hangs")
    begun, came = stage.lines()
    assert (begun.action, begun.outcome, begun.what) == ("act.terminate", "begun", "1 process: 50@50#50050")
    assert (came.outcome, came.before, came.after, came.why) == ("done", "sleeping", "ended", "it hangs")
    assert came.what == "50@50#50050 /usr/bin/daemon: daemon --password=***"
    assert stage.audit.verify() is None


def test_overrides_stand_in_the_trail(stage: Stage) -> None:
    stage.act("suspend", 30, overrides=("ancestor",), reason="drill")
    assert {line.why for line in stage.lines()} == {"drill; override ancestor"}


def test_nothing_is_done_without_confirmation_or_trail(stage: Stage) -> None:
    plan = stage.plan("terminate", 50)
    with pytest.raises(Refused) as refused:
        stage.apply(plan, confirmed=False)
    assert refused.value.rule == "confirmation"
    assert [line.outcome for line in stage.lines()] == ["refused: not confirmed"]
    stage.audit.path.unlink()
    stage.audit.path.mkdir()
    with pytest.raises(Unavailable):
        stage.apply(plan)
    assert stage.control.sent == []


def test_a_plan_that_somebody_wrote_is_checked_like_a_request(stage: Stage) -> None:
    from msgspec.structs import replace

    plan = stage.plan("terminate", 50)
    for request in (replace(plan.request, action="vanish"), replace(plan.request, overrides=("init",))):
        with pytest.raises(UsageError):
            stage.apply(replace(plan, request=request))
    steps = (*plan.steps, replace(plan.steps[0], key=key(1)))
    with pytest.raises(Refused) as refused:
        stage.apply(replace(plan, steps=steps))
    assert refused.value.rule == "init"
    assert stage.control.sent == []


def test_an_interrupted_act_says_what_was_done(stage: Stage) -> None:
    def interrupt(signal: str, pid: int) -> None:
        if pid == 51:
            raise KeyboardInterrupt

    stage.control.on_signal = interrupt
    with pytest.raises(KeyboardInterrupt):
        stage.act("suspend", 50, 51, 52)
    outcomes = [line.outcome for line in stage.lines()]
    signalled, skipped = "pending: interrupted after it was signalled", "skipped: nothing was done about it"
    assert outcomes == ["begun", signalled, signalled, skipped]


def test_an_interrupted_tree_runs_again(stage: Stage) -> None:
    def interrupt(signal: str, pid: int) -> None:
        if pid == 52 and signal == "stop":
            raise KeyboardInterrupt

    stage.control.on_signal = interrupt
    with pytest.raises(KeyboardInterrupt):
        stage.act("terminate", 50, tree=True)
    assert {row.state for row in stage.rows if row.key.pid in (50, 51, 52)} == {"sleeping"}
    assert ("what was stopped runs again", "interrupted") in [(line.what, line.outcome) for line in stage.lines()]


@pytest.mark.parametrize("action", ["terminate", "suspend"])
def test_an_interrupt_right_after_a_stop_leaves_nothing_stopped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    suspend = stage.control.suspend

    def interrupted(key: ProcessKey) -> None:
        suspend(key)
        if key.pid == 51:
            raise KeyboardInterrupt

    monkeypatch.setattr(stage.control, "suspend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.act(action, 50, tree=True)
    assert {row.state for row in stage.rows if row.key.pid in (50, 51, 52)} == {"sleeping"}


def test_an_interrupt_before_anything_is_forced_leaves_nothing_stopped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(key: ProcessKey, force: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage.control, "terminate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.act("terminate", 50, tree=True)
    assert {row.state for row in stage.rows if row.key.pid in (50, 51, 52)} == {"sleeping"}


def test_evidence_that_fails_stops_the_act(stage: Stage) -> None:
    (stage.folder / "case").write_bytes(b"")
    with pytest.raises(Incomplete, match="nothing was done, because evidence is missing: process 50@50#50050: "):
        stage.act("terminate", 50, evidence=str(stage.folder / "case"))
    assert stage.control.sent == []
    outcomes = [line.outcome for line in stage.lines()]
    assert outcomes[0] == "begun" and outcomes[1].startswith("failed: process 50@50#50050: ")
    assert outcomes[2:] == ["skipped: nothing was done about it"]
    assert results(stage.act("terminate", 50, evidence=str(stage.folder / "case"), overrides=("evidence",))) == {
        50: "done"
    }


@pytest.mark.root
@pytest.mark.posix("owners of folders")
def test_evidence_does_not_go_into_a_folder_that_another_user_laid_ready(stage: Stage) -> None:
    stage.folder.chmod(0o1777)
    (stage.folder / "case").mkdir()
    os.chown(stage.folder / "case", 65534, 65534)
    with pytest.raises(Incomplete, match="another user put it there"):
        stage.act("terminate", 50, evidence=str(stage.folder / "case"))
    assert stage.control.sent == [] and list((stage.folder / "case").iterdir()) == []


@pytest.mark.parametrize(
    "request_",
    [
        ActRequest("vanish", ("1",)),
        ActRequest("terminate"),
        ActRequest("terminate", ("1",), container="c"),
        ActRequest("terminate", container=""),
        ActRequest("terminate", ("1",), container=""),
        ActRequest("terminate", container="c", tree=True),
        ActRequest("terminate", ("1",), grace_s=-1),
        ActRequest("terminate", ("1",), grace_s=float("nan")),
    ],
)
def test_requests_that_make_no_sense(request_: ActRequest) -> None:
    with pytest.raises(UsageError):
        check(request_)
