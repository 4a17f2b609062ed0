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
    fields: tuple[str, ...] = ()
    """What differs, where both are one process."""

    @property
    def what(self) -> str:
        """``started stopped modified reused``: reused when another process has the pid."""
        if self.before is None or self.after is None:
            return "stopped" if self.after is None else "started"
        return "modified" if self.before.key.same(self.after.key) else "reused"


class ProcessStart(Struct, frozen=True, tag="start"):
    """A process was forked."""

    name: str
    parent: ProcessKey | None
    """Who forked it. Its `Process.ppid` may be another's (Linux: CLONE_PARENT), which is all the process connector
    tells of."""
    ancestry: tuple[str, ...] = ()
    """Names of the ancestors, parent first, kept after they are gone."""
    uid: int | None = None
    """Effective user."""
    container: str | None = None
    """Id of its container."""
    cgroup: int | None = None
    """Id of its group in the unified hierarchy (Linux); None where all processes are in the root of it."""
    pid: int | None = None
    """Where `Event.key` is None: it was gone before its start could be read."""


class ProcessExec(Struct, frozen=True, tag="exec"):
    """A process runs another program."""

    name: str
    exe: str | None
    """The program itself; for a script its interpreter."""
    argv: tuple[str, ...] | None
    file: str | None = None
    """As it was named: the script, or a relative path."""
    parent: ProcessKey | None = None
    ancestry: tuple[str, ...] = ()
    uid: int | None = None
    memfd: bool = False
    """The program came from memory, not from a file."""
    deleted: bool = False
    """The program's file has no name any more."""
    truncated: bool = False
    """`argv` was longer than what was kept of it."""
    container: str | None = None
    cgroup: int | None = None
    pid: int | None = None


class ProcessExit(Struct, frozen=True, tag="exit"):
    """A process ended."""

    name: str
    code: int | None
    """Exit status; None when a signal ended it."""
    signal: int | None
    core_dumped: bool = False
    run_ns: int | None = None
    """From its start to its end."""
    cpu_ns: int | None = None
    """Of all its threads; Linux brings it up to date at every timer tick, so for a short life it is too small."""
    peak_resident_bytes: int | None = None
    container: str | None = None
    pid: int | None = None


class CredentialChange(Struct, frozen=True, tag="credentials"):
    """A process changed its user, group or capabilities."""

    name: str
    what: str
    """``uid gid`` (effective), ``session capabilities``."""
    before: str | None
    after: str
    """Several capabilities are separated by blanks."""
    pid: int | None = None


class PtraceAttach(Struct, frozen=True, tag="ptrace"):
    """A process attached to another. What its child asks for (Linux: PTRACE_TRACEME) no source tells."""

    name: str
    target: ProcessKey | None
    target_pid: int
    attached: bool = True
    """False: it let go of it."""


class ModuleLoad(Struct, frozen=True, tag="module"):
    """A kernel module was loaded."""

    name: str
    module: str


class SocketEvent(Struct, frozen=True, tag="socket"):
    """A process connected, accepted or listened. `Event.key` is None when nobody knows whose socket it is.

    An accepted one is of the process that began to listen, whoever takes it."""

    name: str
    what: str
    """``connect accept listen close``."""
    protocol: str
    local: Endpoint
    remote: Endpoint | None
    failed: bool = False
    uid: int | None = None
    net_ns: int | None = None


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
    caller: str | None = None
    """Windows: module and offset, or address, of the code that called."""


class ImageLoad(Struct, frozen=True, tag="image"):
    """A process loaded, or let go of, a program or library."""

    name: str
    path: str
    base: int
    size_bytes: int
    loaded: bool = True


class ThreadChange(Struct, frozen=True, tag="thread"):
    """A thread began or ended."""

    name: str
    """Of its process."""
    tid: int
    started: bool
    start_address: int | None = None
    """Of the function that it began with."""
    module: str | None = None
    """The file that this address lies in; None when it is in none, or not known."""
    creator_pid: int | None = None
    """Who made it, where the source tells."""
    flags: tuple[str, ...] = ()
    """``start-outside-modules``, ``remote``: made by another process."""


class MemoryChange(Struct, frozen=True, tag="memory"):
    """The map of a process differs between two looks."""

    name: str
    what: str
    """``mapped unmapped protected``."""
    start: int
    end: int
    before: str | None
    """Permissions."""
    after: str | None
    kind: str | None = None
    path: str | None = None
    flags: tuple[str, ...] = ()
    """``w-to-x executable-anonymous writable-executable``."""


class SecurityChange(Struct, frozen=True, tag="security"):
    """A setting that protects the host was changed (Windows); `Event.at_ns` is when that was seen."""

    key: str
    """Of the registry."""
    value: str
    before: str | None
    """None: there was none."""
    after: str | None
    """None: it was removed."""


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
    | ImageLoad
    | ThreadChange
    | MemoryChange
    | SecurityChange
)


KINDS = ("start", "exec", "exit", "credentials", "ptrace", "module", "socket")
KINDS_OF = {"windows": ("start", "exec", "exit", "image", "thread", "security")}
SETTINGS = frozenset({"security"})
"""Kinds that tell of the host and not of processes: they have a source of their own, beside whatever method."""
EVERYTHING = "all"


def kinds_of(system: str) -> tuple[str, ...]:
    """What can be watched on a system."""
    return KINDS_OF.get(system, KINDS)


SCHEMAS: dict[type, str] = {
    Loss: "hostscope.loss/1",
    CoverageChange: "hostscope.coverage/1",
    ServiceChange: "hostscope.service_change/1",
    ProcessChange: "hostscope.process_change/1",
    ProcessStart: "hostscope.process_start/1",
    ProcessExec: "hostscope.process_exec/1",
    ProcessExit: "hostscope.process_exit/1",
    CredentialChange: "hostscope.credential_change/1",
    PtraceAttach: "hostscope.ptrace_attach/1",
    ModuleLoad: "hostscope.module_load/1",
    SocketEvent: "hostscope.socket_event/1",
    SystemCall: "hostscope.syscall/1",
    ImageLoad: "hostscope.image_load/1",
    ThreadChange: "hostscope.thread_change/1",
    MemoryChange: "hostscope.memory_change/1",
    SecurityChange: "hostscope.security_change/1",
}
"""Of each body."""


class EventRequest(Struct, frozen=True):
    """Which events to watch."""

    kinds: frozenset[str] = frozenset({"start", "exec", "exit"})
    """Tags of bodies, as `kinds_of` names them; ``all`` alone means all of the system."""
    capabilities: bool = False
    """Changes of capabilities, too: a program at the end of every system call of the host."""
    buffer_bytes: int | None = None
    """Room for events that nobody took yet: a power of two; None is the system's default."""
    method: str | None = None
    """``polling``, or Linux: ``ring-buffer proc-connector``; Windows: ``etw registry``; macOS: ``eslogger kqueue``."""
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
