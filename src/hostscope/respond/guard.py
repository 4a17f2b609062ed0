"""What must not be done to whom: rules by name, each with its facts and a hint, for plans and acts alike."""

from collections.abc import Callable

from msgspec import Struct

from hostscope.model.container import Container
from hostscope.model.process import Process
from hostscope.model.response import RESUME, ActRequest, Identity, Refusal
from hostscope.respond.scene import Scene


class Subject(Struct, frozen=True):
    """A process that something is to be done to; its key is the pinned one."""

    process: Process
    identity: Identity
    depth: int = 0


class Rule(Struct, frozen=True):
    """One reason to refuse."""

    doc: str
    hint: str
    applies: Callable[[Subject, Scene, ActRequest], str | None]
    """The facts, when the rule applies."""
    overridable: bool = True


def _init(subject: Subject, scene: Scene, request: ActRequest) -> str | None:
    return "it is PID 1, which the kernel protects from us" if subject.process.key.pid == 1 else None


def _kernel_thread(subject: Subject, scene: Scene, request: ActRequest) -> str | None:
    return "it is the kernel's own, which nobody ends from outside" if subject.process.kernel else None


def _self(subject: Subject, scene: Scene, request: ActRequest) -> str | None:
    return "it is this very process" if subject.process.key.same(scene.ours) else None


def _session(subject: Subject, scene: Scene, request: ActRequest) -> str | None:
    how = scene.carrier(subject.process.key)
    return f"this session runs through it: {how}" if how else None


def _ancestor(subject: Subject, scene: Scene, request: ActRequest) -> str | None:
    key = subject.process.key
    return "we descend from it" if scene.is_ancestor(key) and not scene.carrier(key) else None


def _container_init(subject: Subject, scene: Scene, request: ActRequest) -> str | None:
    linux, container = subject.process.linux, subject.process.container
    if linux is None or linux.inner_pid != 1 or (container and request.container and _is(container, request.container)):
        return None
    of = f"container {container.name or container.id[:12]}" if container else "a PID namespace of its own"
    return f"it is PID 1 of {of}, which ends with it"


def _is(container: Container, named: str) -> bool:
    return named == container.name or container.id.startswith(named)


def _critical_service(subject: Subject, scene: Scene, request: ActRequest) -> str | None:
    role = subject.identity.role
    return f"it is the host's {role.name}: {role.because}" if role and role.service else None


RULES: dict[str, Rule] = {
    "init": Rule("PID 1 of our PID namespace", "shut the host or container down instead", _init, False),
    "kernel-thread": Rule("what is the kernel's own", "nothing can end it but the kernel", _kernel_thread, False),
    "self": Rule("hostscope itself", "press Ctrl-C, or --override self", _self),
    "session": Rule("what carries this session: its ssh server, login, terminal multiplexer",
                    "act from another session (the console), or --override session", _session),
    "ancestor": Rule("processes that hostscope descends from", "act from elsewhere, or --override ancestor", _ancestor),
    "container-init": Rule("PID 1 of a container, unless the whole container is meant",
                           "end the whole container with --container, or --override container-init", _container_init),
    "critical-service": Rule("services that the host depends on, by file, user and unit",
                             "stop it by its service manager, or --override critical-service", _critical_service),
}  # fmt: skip
"""In the order in which they are said."""

EVIDENCE = "evidence"
"""Not a rule about processes: acting although evidence could not be preserved."""
CONFIRMATION = "confirmation"
OVERRIDABLE = (*(name for name, rule in RULES.items() if rule.overridable), EVIDENCE)
HARMLESS = frozenset({RESUME})
"""Actions that stop nothing; only what cannot be acted on at all is refused."""


def judge(subject: Subject, scene: Scene, request: ActRequest) -> tuple[Refusal, ...]:
    """Every rule that applies, overridden ones marked."""
    refusals = []
    for name, rule in RULES.items():
        if request.action in HARMLESS and rule.overridable:
            continue
        if facts := rule.applies(subject, scene, request):
            overridden = rule.overridable and name in request.overrides
            refusals.append(Refusal(name, facts, rule.hint, rule.overridable, overridden))
    return tuple(refusals)


def stands(refusals: tuple[Refusal, ...]) -> Refusal | None:
    """The first refusal that is not overridden."""
    return next((refusal for refusal in refusals if not refusal.overridden), None)
