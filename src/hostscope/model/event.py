"""What streams yield: things that happened, and what was missed, in order."""

from msgspec import Struct

from hostscope.model.coverage import Coverage
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.service import ServiceState
from hostscope.model.socket import Endpoint
from hostscope.model.syscall import Argument


class Loss(Struct, frozen=True, tag="loss"):
    """Events that were dropped at this place of the stream."""

    events: int
    reason: str


class CoverageChange(Struct, frozen=True, tag="coverage"):
    """What the stream covers from here on."""

    coverage: Coverage


class ServiceChange(Struct, frozen=True, tag="service"):
    """A unit's state changed."""

    before: ServiceState | None
    after: ServiceState | None


class ProcessChange(Struct, frozen=True, tag="process"):
    """A process appeared, changed or ended between two looks."""

    before: Process | None
    after: Process | None


class ProcessStart(Struct, frozen=True, tag="start"):
    """A process was forked."""

    name: str
    parent: ProcessKey | None
    ancestry: tuple[str, ...] = ()
    """Names of the ancestors, parent first, kept after they are gone."""
    uid: int | None = None
    container: str | None = None


class ProcessExec(Struct, frozen=True, tag="exec"):
    """A process runs another program."""

    name: str
    exe: str | None
    argv: tuple[str, ...] | None
    parent: ProcessKey | None = None
    ancestry: tuple[str, ...] = ()
    uid: int | None = None
    memfd: bool = False
    """The program came from memory, not from a file."""
    truncated: bool = False
    """`argv` was longer than what was kept of it."""
    container: str | None = None


class ProcessExit(Struct, frozen=True, tag="exit"):
    """A process ended."""

    name: str
    code: int | None
    """Exit status; None when a signal ended it."""
    signal: int | None
    core_dumped: bool = False
    run_ns: int | None = None
    cpu_ns: int | None = None
    peak_resident_bytes: int | None = None


class CredentialChange(Struct, frozen=True, tag="credentials"):
    """A process changed its user, group or capabilities."""

    name: str
    what: str
    """``uid gid capabilities``."""
    before: str | None
    after: str


class PtraceAttach(Struct, frozen=True, tag="ptrace"):
    """A process began to trace another."""

    name: str
    target: ProcessKey | None
    target_pid: int


class ModuleLoad(Struct, frozen=True, tag="module"):
    """A kernel module was loaded."""

    name: str
    module: str


class SocketEvent(Struct, frozen=True, tag="socket"):
    """A process connected, accepted or listened."""

    name: str
    what: str
    """``connect accept listen close``."""
    protocol: str
    local: Endpoint
    remote: Endpoint | None
    failed: bool = False


class SystemCall(Struct, frozen=True, tag="syscall"):
    """A thread made a system call."""

    call: str
    arguments: tuple[Argument, ...]
    result: int | None
    """As the kernel returned it; negative errno for failures; None while it has not returned."""
    error: str | None
    """Name of the errno."""
    tid: int
    duration_ns: int | None = None
    flags: tuple[str, ...] = ()
    """What is remarkable: ``w-to-x``, ``executable-anonymous``."""


Body = (
    Loss
    | CoverageChange
    | ServiceChange
    | ProcessChange
    | ProcessStart
    | ProcessExec
    | ProcessExit
    | CredentialChange
    | PtraceAttach
    | ModuleLoad
    | SocketEvent
    | SystemCall
)


class EventRequest(Struct, frozen=True):
    """Which events to watch."""

    kinds: frozenset[str] = frozenset({"start", "exec", "exit"})
    """Tags of bodies: ``start exec exit credentials ptrace module socket``."""
    method: str | None = None
    """Linux: ``ring-buffer``, ``proc-connector`` or ``polling``."""
    interval_s: float = 1.0
    """Between two looks, where polling is the method."""


class Event(Struct, frozen=True):
    """One thing that happened."""

    schema: str
    """Of `body`, such as ``hostscope.service_change/1``."""
    source: str
    """What told: ``polling``, ``dbus``, ``ring buffer``."""
    seq: int
    """Counts up by one within a stream; a hole is a loss."""
    at_ns: int
    """UTC since the epoch."""
    mono_ns: int
    """Monotonic clock of the host, for order."""
    key: ProcessKey | None
    body: Body
