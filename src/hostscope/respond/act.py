"""Doing what a plan says: judged again, recorded first, evidence before the deed, outcomes seen and not assumed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from msgspec import Struct

from hostscope.errors import Denied, Error, Gone, Incomplete, Mismatch, Refused
from hostscope.model.container import Container
from hostscope.model.inspection import ProcessInspection
from hostscope.model.key import ProcessKey
from hostscope.model.response import RESUME, SUSPEND, TERMINATE, Act, Outcome, Plan, Preserved, Step
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.respond.evidence import Preserving
from hostscope.respond.guard import CONFIRMATION, EVIDENCE, Subject, stands
from hostscope.respond.plan import STOPPED, check, plan_for, step_for
from hostscope.respond.scene import Scene, look_round
from hostscope.respond.signals import KILL_WAIT_S, UNKNOWN, Volley
from hostscope.respond.subjects import descent, find_container, load, members_of, sweep
from hostscope.respond.trail import Trail
from hostscope.respond.tree import Gathering
from hostscope.respond.words import Words, words_of

Treat = Callable[[ProcessInspection], ProcessInspection]
"""Masks what leaves the session."""
RESCAN_S = 0.1
"""Between two looks for new children during the grace of a tree."""
LATE = "processes appeared faster than they could be stopped: look again, or name their container"
RESTLESS = (
    "some were not seen to stop (are they frozen, or let run by another?), and may have started others: look again"
)
UNPRESERVED = "turned up after the evidence was taken, and not preserved: {} of these processes"
MOST_SWEEPS = 20
"""Times that a container is looked through for processes that came in the meantime."""


class Deed(Struct, frozen=True):
    """One act with all it works on."""

    host: Host
    control: Control
    trail: Trail
    plan: Plan
    """Made again at the moment of acting."""
    subjects: tuple[Subject, ...]
    scene: Scene
    container: Container | None
    volley: Volley

    @property
    def ready(self) -> list[Subject]:
        """Those that something can be done to."""
        status = {step.key: step.status for step in self.plan.steps}
        return [subject for subject in self.subjects if status[subject.process.key] == "ready"]


def apply(host: Host, control: Control, plan: Plan, trail: Trail, treat: Treat, confirmed: bool) -> Act:
    """Does what a plan says. The guard judges again, before everything else.

    Raises:
        UsageError: the plan makes no sense.
        Refused: by the guard, or not confirmed; recorded, and nothing was done.
        Unavailable: it cannot be recorded; nothing was done.
        Incomplete: evidence could not be preserved; nothing else was done.
    """
    check(plan.request)
    if plan.request.dry_run:
        raise Refused("a dry run is not for doing", "dry-run", "plan it again without dry_run")
    deed = _renewed(host, control, plan, trail)
    _admit(deed, confirmed)
    evidence: tuple[Preserved, ...] = ()
    notes: list[str] = []
    try:
        trail.intended(deed.plan)
        evidence, notes = _preserve(deed, treat)
        _tell_unready(deed)
        doubt = _done(deed)
    finally:  # however it ended: what was done stands in the trail
        outcomes, late = _in_order(deed, plan), _turned_up(deed)
        note = trail.came(deed.plan, outcomes, late)
    notes += [doubt] if doubt else []
    notes += [UNPRESERVED.format(len(late))] if late and plan.request.evidence is not None else []
    return Act(deed.plan, outcomes, evidence, doubt is None, (*notes, *filter(None, [note])))


def _renewed(host: Host, control: Control, plan: Plan, trail: Trail) -> Deed:
    """Everything looked at again: a plan may be old, and whoever hands it in may have written it."""
    container = find_container(host, plan.container) if plan.container else None
    subjects = tuple(load(host, control, {step.key: step.depth for step in plan.steps}))
    scene = look_round(host, control)
    renewed = plan_for(plan.request, list(subjects), scene, container)
    return Deed(host, control, trail, renewed, subjects, scene, container, Volley(host, control))


def _admit(deed: Deed, confirmed: bool) -> None:
    refused = deed.plan.refused
    if refused:
        deed.trail.refused(deed.plan)
        step = next(step for step in deed.plan.steps if step.status == "refused")
        raise _refusal(step)
    if not confirmed:
        deed.trail.refused(deed.plan, "not confirmed")
        raise Refused(f"{deed.plan.request.action} needs to be confirmed", CONFIRMATION, "give --yes")


def _refusal(step: Step) -> Refused:
    standing = stands(step.refusals)
    if standing is None:
        raise ValueError(f"step {step.key} is refused by nothing")
    return Refused(
        f"process {step.key} {step.name}: {standing.facts} (rule {standing.rule})", standing.rule, standing.hint
    )


def _preserve(deed: Deed, treat: Treat) -> tuple[tuple[Preserved, ...], list[str]]:
    request = deed.plan.request
    if request.evidence is None:
        return (), []
    record = partial(deed.trail.note, deed.plan, EVIDENCE)
    preserving = Preserving(deed.host, deed.control, request.evidence, request.reason, treat, record)
    found = preserving.preserve(deed.subjects)
    for file in found.files:
        deed.trail.note(
            deed.plan,
            EVIDENCE,
            f"{file.path} {file.size_bytes} bytes sha256 {file.sha256 or 'in its manifest'}",
            "done",
        )
    if found.failures and EVIDENCE not in request.overrides:
        deed.trail.note(deed.plan, EVIDENCE, request.evidence, f"failed: {'; '.join(found.failures)}")
        raise Incomplete(
            f"nothing was done, because evidence is missing: {found.failures[0]}", f"--override {EVIDENCE} acts without"
        )
    return found.files, [*found.notes, *found.failures]


def _tell_unready(deed: Deed) -> None:
    """Outcomes of those to which nothing can be done."""
    for subject, step in zip(deed.subjects, deed.plan.steps, strict=True):
        if step.status == "ended":
            deed.volley.tell(subject, "gone", "it had ended before", "ended")
        elif step.status == "denied":
            deed.volley.tell(subject, "denied", f"permission denied; {_words(deed).right}")


def _done(deed: Deed) -> str | None:
    """Acts; why something may have been left out, if so."""
    request = deed.plan.request
    together = request.tree or deed.container is not None
    if request.action == SUSPEND and together:
        return _suspend_all(deed)
    if request.action == TERMINATE and together:
        return _terminate_all(deed)
    {RESUME: _resume, SUSPEND: _suspend_each, TERMINATE: _terminate}[request.action](deed)
    return None


# One by one ----------------------------------------------------------------------------------------------------


def _terminate(deed: Deed) -> None:
    left = _ask(deed, deed.ready)
    if deed.plan.request.force:
        _force(deed, left)
    else:
        deed.volley.survivors(left, f"it has not ended {deed.plan.grace_s:g} s after {_words(deed).ask}")


def _ask(deed: Deed, subjects: list[Subject]) -> list[Subject]:
    """SIGTERM to those that can answer it, and the grace; who is left then."""
    if not deed.plan.grace_s and deed.plan.request.force:
        return subjects
    cannot = [subject for subject in subjects if subject.process.state == STOPPED and deed.plan.request.force]
    asked = deed.volley.send(
        (each for each in subjects if each not in cannot), partial(deed.control.terminate, force=False)
    )
    left = cannot + [subject for subject in subjects if subject.process.key in deed.volley.unasked]
    return left + deed.volley.collect(asked, deed.plan.grace_s)


def _force(deed: Deed, subjects: list[Subject]) -> None:
    sent = deed.volley.send(subjects, partial(deed.control.terminate, force=True))
    left = deed.volley.collect(sent, KILL_WAIT_S)
    deed.volley.unasked.clear()
    deed.volley.survivors(left, f"still there {KILL_WAIT_S:g} s after {_words(deed).force}")


def _suspend_each(deed: Deed) -> None:
    _suspend(deed, deed.ready)


def _suspend(deed: Deed, subjects: list[Subject]) -> None:
    for subject in deed.volley.send(subjects, deed.control.suspend):
        state = deed.volley.await_state(
            subject, lambda state: state in (None, STOPPED, "tracing-stop", "zombie", UNKNOWN)
        )
        if state == UNKNOWN:
            deed.volley.tell(subject, "done", "told to stop; the system does not tell its state", state)
        elif state in (STOPPED, "tracing-stop"):
            words = "held by a tracer, which may let it run" if state == "tracing-stop" else None
            deed.volley.tell(subject, "done", words, state)
        elif state in (None, "zombie"):
            deed.volley.tell(subject, "gone", "it ended at the same moment", "ended")
        else:
            deed.volley.tell(subject, "pending", f"told to stop, but still {state}", state)


def _resume(deed: Deed) -> None:
    for subject in deed.volley.send(deed.ready, deed.control.resume):
        state = deed.volley.await_state(subject, lambda state: state != STOPPED)
        if state in (STOPPED, "tracing-stop"):
            words = "held by a tracer" if state == "tracing-stop" else "stopped again at once"
            deed.volley.tell(subject, "pending", words, state)
        else:
            deed.volley.tell(subject, "done", after=state or "ended")


# Trees and containers ------------------------------------------------------------------------------------------


def _gathering(deed: Deed) -> Gathering:
    members = members_of(deed.container) if deed.container else descent
    return Gathering(deed.host, deed.control, deed.plan.request, deed.scene, members)


@contextmanager
def _let_run_unless_done(deed: Deed, gathering: Gathering) -> Iterator[None]:
    """Whatever cuts the block short, the guard or Ctrl-C: what was stopped in it runs again."""
    try:
        yield
    except BaseException as failed:
        if gathering.release() or isinstance(failed, Error):
            how = f"refused: {failed}" if isinstance(failed, Error) else "interrupted"
            deed.trail.note(deed.plan, deed.plan.request.action, "what was stopped runs again", how)
        raise


def _doubt(gathering: Gathering) -> str | None:
    if gathering.complete:
        return None
    return LATE if gathering.growing else RESTLESS


def _suspend_all(deed: Deed) -> str | None:
    gathering = _gathering(deed)
    with _let_run_unless_done(deed, gathering):
        gathering.gather(deed.ready)
    _tell_failures(deed, gathering)
    _suspend(deed, list(gathering.subjects.values()))
    return _doubt(gathering)


def _terminate_all(deed: Deed) -> str | None:
    left = _ask_all(deed)
    if not deed.plan.request.force:
        asked = [subject for subject in left if deed.volley.was_sent(subject.process.key)]
        deed.volley.survivors(asked, f"it has not ended {deed.plan.grace_s:g} s after {_words(deed).ask}")
        deed.volley.survivors([each for each in left if each not in asked], "it turned up later, and nobody asked it")
        return None
    return _force_gathered(deed, _by_kernel(deed, left) if deed.container is not None and left else left)


def _ask_all(deed: Deed) -> list[Subject]:
    """SIGTERM to all, and the grace, in which children that turn up are remembered while their parents live."""
    if not deed.plan.grace_s and deed.plan.request.force:
        return deed.ready
    known = {subject.process.key: subject for subject in deed.ready}
    left, deadline = _ask_now(deed, deed.ready), time.monotonic() + deed.plan.grace_s
    members = members_of(deed.container) if deed.container else descent
    while left and time.monotonic() < deadline:
        left = deed.volley.collect(left, min(RESCAN_S, max(0.0, deadline - time.monotonic())))
        known |= _newcomers(deed, members(sweep(deed.host), known), known)
        left = [each for key, each in known.items() if key not in deed.volley.outcomes]
    return left


def _ask_now(deed: Deed, subjects: list[Subject]) -> list[Subject]:
    able = [each for each in subjects if each.process.state != STOPPED or not deed.plan.request.force]
    deed.volley.send(able, partial(deed.control.terminate, force=False))
    return [subject for subject in subjects if subject.process.key not in deed.volley.outcomes]


def _newcomers(deed: Deed, found: dict[ProcessKey, int], known: dict[ProcessKey, Subject]) -> dict[ProcessKey, Subject]:
    pids = {key.pid: key for key in known}
    fresh = {key: depth for key, depth in found.items() if key.pid not in pids or not pids[key.pid].same(key)}
    return {subject.process.key: subject for subject in load(deed.host, deed.control, fresh)}


def _force_gathered(deed: Deed, subjects: list[Subject]) -> str | None:
    """Stops everything first, and ends it children first; a container is looked through until it is empty."""
    for _ in range(MOST_SWEEPS if deed.container else 1):
        gathering = _gathering(deed)
        with _let_run_unless_done(deed, gathering):
            gathering.gather(subjects)
            _tell_failures(deed, gathering)
            _force(deed, list(reversed(gathering.subjects.values())))
        if deed.container is None:
            return _doubt(gathering)
        rest = members_of(deed.container)(sweep(deed.host), ())
        subjects = [
            each for each in load(deed.host, deed.control, rest) if each.process.key not in deed.volley.outcomes
        ]
        if not subjects:
            return _doubt(gathering)
    return LATE


def _by_kernel(deed: Deed, subjects: list[Subject]) -> list[Subject]:
    """The kernel ends a whole control group at once, forks included, where the container has one of its own.

    Returns:
        Those that are left, to be ended one by one: all where there is no such group, and those that stand outside of
        it (who may make groups below a container's can give them the name of another container).
    """
    if deed.container is None:
        return subjects
    try:
        if not deed.control.terminate_container(subjects[0].process.key, deed.container):
            return subjects
    except (Gone, Mismatch, Denied):
        return subjects  # then each by itself, which says what is wrong
    return deed.volley.collect(subjects, KILL_WAIT_S)


def _tell_failures(deed: Deed, gathering: Gathering) -> None:
    for key, failed in gathering.failed.items():
        result = "denied" if isinstance(failed, Denied) else "mismatch"
        deed.volley.tell(gathering.subjects[key], result, str(failed))


def _words(deed: Deed) -> Words:
    return words_of(deed.scene.system)


def _in_order(deed: Deed, asked: Plan) -> tuple[Outcome, ...]:
    """Of the plan that was asked for, then of what turned up."""
    told, asked_for = deed.volley.outcomes, {step.key for step in asked.steps}
    first = [told.get(step.key) or _untouched(deed, step) for step in asked.steps]
    return (*first, *(outcome for key, outcome in told.items() if key not in asked_for))


def _turned_up(deed: Deed) -> list[Step]:
    """What became of processes that were not in the plan."""
    planned = {step.key for step in deed.plan.steps}
    late = [subject for key, subject in deed.volley.subjects.items() if key not in planned]
    return [step_for(subject, deed.scene, deed.plan.request) for subject in late]


def _untouched(deed: Deed, step: Step) -> Outcome:
    """Of a step whose outcome nobody saw."""
    try:
        deed.control.pin(step.key)
    except Gone:
        return Outcome(step.key, step.name, "gone", "it ended before anything was done", step.state, "ended")
    except Mismatch as failed:
        return Outcome(step.key, step.name, "mismatch", failed.message, step.state)
    if deed.volley.was_sent(step.key):
        return Outcome(step.key, step.name, "pending", "interrupted after it was signalled", step.state)
    return Outcome(step.key, step.name, "skipped", "nothing was done about it", step.state, step.state)
