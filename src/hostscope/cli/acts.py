"""What kill, suspend and resume have in common: plan, show, confirm, act, show what came of it."""

import sys
from typing import Any

import click

from hostscope.cli.options import Choices
from hostscope.cli.output import Sink, open_output, wants_colour
from hostscope.errors import Denied, Gone, Incomplete, Mismatch, Refused
from hostscope.model.response import ACT_SCHEMA, PLAN_SCHEMA, TERMINATE, Act, ActRequest, Plan
from hostscope.render.documents import encode_json
from hostscope.render.plan_page import headline, render_act, render_plan
from hostscope.render.table import Style
from hostscope.session import open_session
from hostscope.session.local import LocalSession

TARGETS = """\b
TARGET is a pid, a name (every process called so), :PORT (what listens
there) or a key (pid@start#serial, as plans show it). A pid becomes a key
when the plan is made; the key is compared again, through a handle of the
process, at the moment of acting, so a process that took over the pid is
never hit."""

CODES = """\b
Rules of the guard: init, kernel-thread (never overridden), self, session,
ancestor, container-init, critical-service (--override names each that
applies); --override evidence acts although evidence could not be preserved.

\b
Exit codes: 0 all done; 3 they had ended before; 4 denied; 5 the pid is
another process now; 7 refused by the guard or not confirmed; 8 only a part
was done. One refused process stops the whole plan: nothing is done then. A
dry run ends with the code that the act would have, as far as can be told."""

WORST = {"done": 0, "gone": Gone.exit_code, "denied": Denied.exit_code, "mismatch": Mismatch.exit_code}


def act_on(request: ActRequest, confirmed: bool, choices: Choices) -> int:
    """Plans, asks, acts; the exit code."""
    with open_session(None, choices.reveal, lower=True) as session:
        plan = session.plan(request)
        if request.dry_run:
            with open_output(choices.output, session.overriding) as sink:
                _write(sink, choices, PLAN_SCHEMA, "plan", plan)
            return planned_code(plan)
        confirmed = confirmed or _confirm(plan)
        with open_output(choices.output, session.overriding) as sink:  # before anything is done that must be told there
            act = _apply(session, plan, confirmed)
            _write(sink, choices, ACT_SCHEMA, "act", act)
    return exit_code(act)


def _apply(session: LocalSession, plan: Plan, confirmed: bool) -> Act:
    try:
        return session.apply(plan, confirmed)
    except KeyboardInterrupt:
        _say("hostscope: interrupted\nhint: what was done until then: hostscope audit show --sort -seq\n")
        raise


def _confirm(plan: Plan) -> bool:
    """Asks who sits at the terminal; False without one, or when the guard refuses anyway."""
    _say(render_plan(plan, Style(sys.stderr.isatty() and wants_colour())))
    if plan.refused or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return click.confirm(f"\n{headline(plan)}?", default=False, err=True)


def _write(sink: Sink, choices: Choices, schema: str, place: str, answer: Plan | Act) -> None:
    if choices.format == "json":
        sink.write(encode_json({"schema": schema, place: answer}), b"\n")
    elif isinstance(answer, Plan):
        sink.write(render_plan(answer, sink.style()))
    else:
        sink.write(render_act(answer, sink.style()))


def planned_code(plan: Plan) -> int:
    """What the act would end with, as far as the plan tells."""
    if plan.refused:
        return Refused.exit_code
    expected = {step.status for step in plan.steps}
    if "denied" in expected:
        return Incomplete.exit_code if "ready" in expected else Denied.exit_code
    return Gone.exit_code if expected == {"ended"} else 0


def exit_code(act: Act) -> int:
    """0 when all is done; 8 when a part is, or something survived; else that of the worst failure.

    To terminate what ended by itself in the meantime is done too, as long as something was; and what has ended in a
    tree or container leaves nothing of it to stop or resume.
    """
    results = {outcome.result for outcome in act.outcomes}
    named = set() if act.plan.container else {step.key for step in act.plan.steps if step.depth == 0}
    gone = {outcome.key for outcome in act.outcomes if outcome.result == "gone"}
    if "done" in results and (act.plan.request.action == TERMINATE or not gone & named):
        results.discard("gone")
    if not act.complete or (len(results) > 1 and "done" in results):
        return Incomplete.exit_code
    return max(WORST.get(result, Incomplete.exit_code) for result in results)


def _say(text: str) -> None:
    print(text, file=sys.stderr, end="")  # noqa: T201


def request_of(action: str, targets: tuple[str, ...], given: dict[str, Any]) -> tuple[ActRequest, bool, Choices]:
    """What the options of an act mean, taken out of `given`; what is left goes to `Choices`."""
    request = ActRequest(
        action,
        targets,
        tree=given.pop("tree"),
        container=given.pop("container"),
        grace_s=given.pop("grace", None),
        force=not given.pop("no_force", False),
        dry_run=given.pop("dry_run"),
        reason=given.pop("reason"),
        overrides=tuple(given.pop("override")),
        evidence=given.pop("evidence"),
    )
    return request, given.pop("yes"), Choices(**given)
