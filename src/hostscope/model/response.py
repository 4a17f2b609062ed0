"""Acts: what was asked for, what is planned and what the guard says of it, and what came of it."""

from msgspec import Struct

from hostscope.model.key import ProcessKey

PLAN_SCHEMA = "hostscope.plan/1"
ACT_SCHEMA = "hostscope.act/1"

TERMINATE, SUSPEND, RESUME = "terminate", "suspend", "resume"
ACTIONS = (TERMINATE, SUSPEND, RESUME)


class Role(Struct, frozen=True):
    """What a process is to its host, recognised by identity: its file, its user and its unit; never by name alone."""

    name: str
    """Such as ``ssh server``."""
    service: bool
    """The host, or those who look after it, depend on it."""
    session: bool
    """It carries logins or terminals."""
    because: str
    """The facts, in one line."""
    clients: bool = False
    """What it carries is shown by other processes of the same program (a terminal multiplexer)."""


class Identity(Struct, frozen=True):
    """Who a process is, as surely as the system can tell."""

    key: ProcessKey
    """With its serial, where the system has one."""
    role: Role | None = None
    permitted: bool = True
    """Whether we may signal it."""
    ended: bool = False
    """It has ended, and only its parent has not asked for its exit code yet."""


class ActRequest(Struct, frozen=True):
    """What is to be done to whom, and how."""

    action: str
    """``terminate suspend resume``."""
    targets: tuple[str, ...] = ()
    """Pids, names, ``:PORT`` or keys."""
    tree: bool = False
    """All descendants as well."""
    container: str | None = None
    """Id (or the beginning of one), or name, of a container of which all processes are meant."""
    grace_s: float | None = None
    """Time between asking and forcing; 0 forces at once. None: 5 seconds, but 0 for a tree or container."""
    force: bool = True
    """Force what has not ended after the grace."""
    dry_run: bool = False
    reason: str | None = None
    """Goes to the audit trail."""
    overrides: tuple[str, ...] = ()
    """Names of the guard's rules that are set aside."""
    evidence: str | None = None
    """Folder in which each process is preserved before anything is done to it."""


class Refusal(Struct, frozen=True):
    """One rule of the guard that speaks against a step."""

    rule: str
    facts: str
    """Why the rule applies, in one line."""
    hint: str
    overridable: bool
    overridden: bool = False


class Step(Struct, frozen=True):
    """One process of a plan."""

    key: ProcessKey
    name: str
    status: str
    """``ready``; ``refused`` by the guard; ``denied`` by the system; ``ended`` already."""
    exe: str | None = None
    argv: tuple[str, ...] | None = None
    """Secrets masked."""
    owner: str | None = None
    state: str | None = None
    role: str | None = None
    """Of `Role`."""
    depth: int = 0
    """Steps below the target in a tree."""
    refusals: tuple[Refusal, ...] = ()
    """Overridden ones included."""
    notes: tuple[str, ...] = ()
    """What will be different for this one."""


class Plan(Struct, frozen=True):
    """What an act would do."""

    request: ActRequest
    at_ns: int
    steps: tuple[Step, ...]
    grace_s: float
    """That applies."""
    container: str | None = None
    """Full id."""
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What the guard says against it: one refused step stops the whole."""
        return tuple(
            refusal for step in self.steps if step.status == "refused" for refusal in step.refusals
            if not refusal.overridden
        )  # fmt: skip


class Outcome(Struct, frozen=True):
    """What came of one step."""

    key: ProcessKey
    name: str
    result: str
    """``done``; ``gone`` before we came; ``denied``; ``mismatch``: the pid is another process's now; ``survived`` being
    forced to end; ``pending``: told to stop, but has not yet; ``skipped``: not tried because something before it
    failed."""
    detail: str | None = None
    before: str | None = None
    """State before."""
    after: str | None = None
    """State after; ``ended``."""
    elapsed_ns: int = 0
    """From the first signal until it was seen to have taken effect."""


class Preserved(Struct, frozen=True):
    """One file of evidence."""

    path: str
    sha256: str | None
    """None for an image of memory: its manifest has one for each region."""
    size_bytes: int
    of: ProcessKey | None = None


class Act(Struct, frozen=True):
    """What was done."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    evidence: tuple[Preserved, ...] = ()
    complete: bool = True
    """False when processes may be left that nobody could find in time."""
    notes: tuple[str, ...] = ()
