"""Each rule applies to whom it is about, and to nobody else."""

import pytest
from msgspec.structs import replace

from hostscope.errors import Refused, UsageError
from hostscope.model.response import ActRequest
from hostscope.respond.guard import OVERRIDABLE, RULES, judge
from hostscope.respond.plan import check
from hostscope.respond.scene import look_round
from hostscope.respond.subjects import load
from tests.fake import key
from tests.unit.respond.stage import OURS, Stage


@pytest.mark.parametrize(
    ("pid", "rules"),
    [
        (1, {"init", "ancestor"}),
        (2, {"kernel-thread"}),
        (OURS, {"self"}),
        (30, {"ancestor"}),
        (25, {"session"}),
        (22, {"session"}),
        (21, {"session"}),
        (41, set()),
        (20, {"session", "critical-service"}),
        (60, {"container-init"}),
        (61, set()),
        (50, set()),
        (52, set()),
        (70, set()),
    ],
)
def test_who_is_refused(stage: Stage, pid: int, rules: set[str]) -> None:
    for action in ("terminate", "suspend"):
        (step,) = stage.plan(action, pid).steps
        assert {refusal.rule for refusal in step.refusals} == rules
        assert (step.status == "refused") == bool(rules)


@pytest.mark.parametrize("rule", OVERRIDABLE[:-1])
def test_an_override_names_its_rule(stage: Stage, rule: str) -> None:
    pid = {"self": OURS, "session": 25, "ancestor": 30, "container-init": 60}.get(rule, 20)
    given = ("session", rule) if pid == 20 else (rule,)
    (step,) = stage.plan("terminate", pid, overrides=given).steps
    assert step.status == "ready"
    assert {refusal.rule for refusal in step.refusals if refusal.overridden} == set(given)
    (step,) = stage.plan("terminate", pid, overrides=tuple({*OVERRIDABLE} - {rule})).steps
    assert step.status == "refused"


@pytest.mark.parametrize("rule", ["init", "kernel-thread", "nonsense", ""])
def test_what_cannot_be_overridden(rule: str) -> None:
    with pytest.raises(UsageError, match="cannot be overridden"):
        check(ActRequest("terminate", ("1",), overrides=(rule,)))


@pytest.mark.parametrize(("pid", "rule"), [(1, "init"), (2, "kernel-thread")])
def test_the_guard_itself_lets_no_override_of_these_through(stage: Stage, pid: int, rule: str) -> None:
    (subject,) = load(stage.host, stage.control, {key(pid): 0})
    request = ActRequest("terminate", (str(pid),), overrides=tuple(RULES))
    (standing,) = (one for one in judge(subject, look_round(stage.host, stage.control), request) if not one.overridden)
    assert standing.rule == rule


@pytest.mark.parametrize("pid", [30, 25])
def test_who_took_over_the_number_of_an_ancestor_is_none(stage: Stage, pid: int) -> None:
    scene = look_round(stage.host, stage.control)
    found, later = key(pid), replace(key(pid), start=key(pid).start + 1)
    assert (scene.is_ancestor(found), scene.is_ancestor(later)) == (True, False)
    assert (scene.carrier(found) is not None, scene.carrier(later)) == (pid == 25, None)


def test_resume_stops_nothing_and_is_let_through(stage: Stage) -> None:
    for pid in (OURS, 30, 25, 20, 60):
        assert stage.plan("resume", pid).steps[0].status == "ready"
    assert stage.plan("resume", 2).steps[0].status == "refused"


def test_the_first_process_of_a_container_is_free_when_all_of_it_is_meant(stage: Stage) -> None:
    plan = stage.plan("terminate", container="shop")
    assert [(step.key.pid, step.status) for step in plan.steps] == [(60, "ready"), (61, "ready")]
    assert plan.container is not None and plan.container.startswith("c0ffee")


def test_the_first_process_of_another_container_is_not(stage: Stage) -> None:
    """A plan that somebody wrote names one container and means another."""
    plan = stage.plan("terminate", container="shop")
    forged = replace(plan, request=replace(plan.request, container="other"), container=None)
    with pytest.raises(Refused) as refused:
        stage.apply(forged)
    assert (refused.value.rule, stage.control.sent) == ("container-init", [])


def test_the_guard_judges_again_when_it_comes_to_acting(stage: Stage) -> None:
    plan = stage.plan("terminate", 50)
    stage.control.roles[50] = stage.control.roles[20]
    with pytest.raises(Refused) as refused:
        stage.apply(plan)
    assert refused.value.rule == "critical-service"
    assert stage.control.sent == []


def test_every_refusal_is_recorded(stage: Stage) -> None:
    with pytest.raises(Refused):
        stage.act("terminate", 20, reason="testing")
    (line,) = stage.lines()
    assert (line.action, line.why, line.before) == ("act.terminate", "testing", "sleeping")
    assert line.outcome.startswith("refused: session: this session runs through it: ssh server above us") is False
    assert "critical-service: it is the host's ssh server" in line.outcome
    assert line.what is not None and line.what.startswith("20@20#20020 /usr/bin/sshd")


def test_every_rule_says_what_to_do_instead() -> None:
    assert all(rule.doc and rule.hint for rule in RULES.values())
