"""Acts in the audit trail: what was meant, refused, tried, and what came of it."""

import os
from collections.abc import Iterable

from msgspec.structs import replace

from hostscope.audit import AuditTrail, Who, default_path, this_process
from hostscope.errors import Error
from hostscope.model.request import ProcessRequest
from hostscope.model.response import Outcome, Plan, Refusal, Step
from hostscope.platforms.base import Host

PREFIX = "act."
"""Of the action in a line: ``act.terminate``."""


class Trail:
    """Writes one line for each step of an act; nothing is done that cannot be recorded."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def planned(self, plan: Plan) -> None:
        """A dry run: what it would have done to each.

        Raises:
            Unavailable
        """
        *steps, last = plan.steps
        for step in steps:
            self._step(plan, step, _would(step, plan), durable=False)
        self._step(plan, last, _would(last, plan))

    def refused(self, plan: Plan, facts: str | None = None) -> None:
        """An act that was refused: by the guard, or (with `facts`) as a whole.

        Raises:
            Unavailable
        """
        for step in plan.steps:
            self._step(plan, step, f"refused: {facts}" if facts else _refused(step))

    def intended(self, plan: Plan) -> None:
        """What is about to be done, on the disk before it is: a crash half way leaves this line.

        Raises:
            Unavailable: nothing may be done then.
        """
        scope = (
            f"container {plan.container}"
            if plan.container
            else f"{len(plan.steps)} {'process' if len(plan.steps) == 1 else 'processes'}"
        )
        roots = " ".join(str(step.key) for step in plan.steps if step.depth == 0)
        self._trail.append(f"{PREFIX}{plan.request.action}", what=f"{scope}: {roots}", why=_why(plan), outcome="begun")

    def came(self, plan: Plan, outcomes: tuple[Outcome, ...], late: Iterable[Step] = ()) -> str | None:
        """What came of each step, and of those that turned up `late`; on the disk with the last one.

        Returns:
            None, or what people must be told when lines are missing: the acts are done by now.
        """
        steps = {step.key: step for step in (*plan.steps, *late)}
        try:
            for place, outcome in enumerate(outcomes, 1):
                step = steps.get(outcome.key) or Step(outcome.key, outcome.name, "ready", state=outcome.before)
                text = f"{outcome.result}: {outcome.detail}" if outcome.detail else outcome.result
                self._step(plan, step, text, outcome.after, durable=place == len(outcomes))
        except Error as failed:
            return f"what came of it is not recorded: {failed}"
        return None

    def note(self, plan: Plan, action: str, what: str, outcome: str) -> None:
        """Anything else that belongs to an act, such as its evidence.

        Raises:
            Unavailable
        """
        self._trail.append(f"{PREFIX}{action}", what=what, why=_why(plan), outcome=outcome)

    def _step(self, plan: Plan, step: Step, outcome: str, after: str | None = None, durable: bool = True) -> None:
        self._trail.append(
            f"{PREFIX}{plan.request.action}",
            what=describe(step),
            why=_why(plan),
            before=step.state,
            after=after,
            outcome=outcome,
            durable=durable,
        )


def describe(step: Step) -> str:
    """``42@4711#99 /usr/bin/sleep: sleep 60``."""
    return f"{step.key} {step.exe or step.name}" + (f": {' '.join(step.argv)}" if step.argv else "")


def open_trail(host: Host) -> Trail:
    """The trail of this host, written in the name of who logged in."""
    return Trail(AuditTrail(default_path(), _who(host)))


def _who(host: Host) -> Who:
    who = this_process()
    try:
        ours = host.processes.read(os.getpid(), ProcessRequest(fields=frozenset({"security", "owner"})))
    except Error:
        return who
    return replace(who, login_uid=ours.linux.login_uid) if ours.linux else who


def _why(plan: Plan) -> str | None:
    request = plan.request
    overridden = f"override {', '.join(request.overrides)}" if request.overrides else None
    return "; ".join(filter(None, (request.reason, overridden))) or None


def _would(step: Step, plan: Plan) -> str:
    return f"dry run: would {plan.request.action}" if step.status == "ready" else f"dry run: {_refused(step)}"


def _refused(step: Step) -> str:
    standing: list[Refusal] = [refusal for refusal in step.refusals if not refusal.overridden]
    if standing:
        return "refused: " + "; ".join(f"{refusal.rule}: {refusal.facts}" for refusal in standing)
    return "not done: another process of the plan was refused" if step.status == "ready" else step.status
