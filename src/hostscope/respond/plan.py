"""What an act would do: every process that is meant, and what the guard and the system say of each."""

import time

from hostscope.errors import Gone, UsageError
from hostscope.model.container import Container
from hostscope.model.response import ACTIONS, RESUME, SUSPEND, TERMINATE, ActRequest, Plan, Step
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.render.mask import mask_argv
from hostscope.respond.guard import OVERRIDABLE, Subject, judge, stands
from hostscope.respond.scene import Scene, look_round
from hostscope.respond.subjects import find_container, select
from hostscope.respond.trail import Trail
from hostscope.respond.words import SIGNALS, Words, words_of

GRACE_S = 5.0
"""Between asking one process to end and forcing it."""
MOST_GRACE_S = 3600
STOPPED = "stopped"
NOT_FORCED = "nothing is forced: what has no windows, or does not close them, stays"


def make_plan(host: Host, control: Control, request: ActRequest, trail: Trail) -> Plan:
    """The plan of an act; of a dry run, each step goes to the audit trail here, because nothing comes after it.

    Raises:
        UsageError: the request makes no sense. Gone: nothing is meant. Denied, Mismatch, Unsupported
        Unavailable: a dry run could not be recorded.
    """
    check(request)
    container = find_container(host, request.container) if request.container else None
    subjects = select(host, control, request, container)
    if not subjects:
        raise Gone("what was meant has ended in the meantime")
    plan = plan_for(request, subjects, look_round(host, control), container)
    if request.dry_run:
        trail.planned(plan)
    return plan


def check(request: ActRequest) -> None:
    """Raises `UsageError` for what no act can mean."""
    if request.action not in ACTIONS:
        raise UsageError(f"there is no action {request.action!r}", f"actions: {', '.join(ACTIONS)}")
    if request.container == "" or bool(request.targets) == (request.container is not None):
        raise UsageError("name processes, or one container", "give targets, or --container ID")
    if request.container is not None and request.tree:
        raise UsageError("a container is whole already", "leave --tree out")
    if request.grace_s is not None and not 0 <= request.grace_s <= MOST_GRACE_S:
        raise UsageError(f"a grace of {request.grace_s} s", f"give 0 to {MOST_GRACE_S} seconds")
    for name in request.overrides:
        if name not in OVERRIDABLE:
            raise UsageError(f"{name!r} cannot be overridden", f"rules that can: {', '.join(OVERRIDABLE)}")


def plan_for(request: ActRequest, subjects: list[Subject], scene: Scene, container: Container | None) -> Plan:
    """The plan of an act on processes that are pinned."""
    grace_s = _grace_s(request)
    return Plan(
        request,
        time.time_ns(),
        tuple(step_for(subject, scene, request, grace_s) for subject in subjects),
        grace_s,
        container.id if container else None,
        tuple(_notes(request, grace_s, words_of(scene.system))),
    )


def _grace_s(request: ActRequest) -> float:
    if request.action != TERMINATE:
        return 0
    if request.grace_s is not None:
        return request.grace_s
    return 0 if request.force and (request.tree or request.container) else GRACE_S


def _notes(request: ActRequest, grace_s: float, words: Words) -> list[str]:
    notes = []
    if request.action == TERMINATE and request.tree and grace_s:
        notes.append(
            "during the grace a process that ends may leave children that nobody can find; --grace 0 stops all first"
        )
    if request.action == TERMINATE and not request.force:
        notes.append(f"nothing is forced: what ignores {words.ask} stays" if words is SIGNALS else NOT_FORCED)
    if request.overrides:
        notes.append(f"overridden: {', '.join(request.overrides)}")
    return notes


def step_for(subject: Subject, scene: Scene, request: ActRequest, grace_s: float = 0) -> Step:
    """One process of the plan."""
    process, identity = subject.process, subject.identity
    refusals = judge(subject, scene, request)
    return Step(
        key=identity.key,
        name=process.name,
        status=_status(subject, bool(stands(refusals))),
        exe=process.exe.path if process.exe else None,
        argv=mask_argv(process.argv) if process.argv is not None else None,
        owner=(process.owner.name or process.owner.id) if process.owner else None,
        state=process.state,
        role=identity.role.name if identity.role else None,
        depth=subject.depth,
        refusals=refusals,
        notes=tuple(_step_notes(subject, request, grace_s, words_of(scene.system))),
    )


def _status(subject: Subject, refused: bool) -> str:
    if refused:
        return "refused"
    if subject.identity.ended:
        return "ended"
    return "ready" if subject.identity.permitted else "denied"


def _step_notes(subject: Subject, request: ActRequest, grace_s: float, words: Words) -> list[str]:
    process, notes = subject.process, []
    if subject.identity.ended:
        notes.append(f"ended already; its parent {process.ppid} has not asked for its exit code")
    elif process.state == "zombie":
        notes.append("its first thread has ended, which makes it look like a zombie; the others run on")
    if not subject.identity.permitted:
        notes.append(words.right)
    if request.action == TERMINATE and process.state == STOPPED and grace_s and request.force:
        notes.append(f"stopped: it cannot answer {words.ask}, and is forced at once rather than let run")
    if request.action == SUSPEND and process.state == STOPPED:
        notes.append("stopped already")
    if request.action == RESUME and process.state == "tracing-stop":
        notes.append("held by a tracer, which alone can let it run")
    if process.state == "disk-sleep":
        notes.append("in uninterruptible sleep: signals wait until it wakes")
    return notes
