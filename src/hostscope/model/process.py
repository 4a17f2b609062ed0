"""The process record: the same on every system."""

from msgspec import Struct

from hostscope.model.container import Container
from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.linux import LinuxContext
from hostscope.model.macos import MacosContext
from hostscope.model.security import Security
from hostscope.model.service import Service
from hostscope.model.signature import Signature
from hostscope.model.windows import WindowsContext

SCHEMA = "hostscope.process/1"


class Account(Struct, frozen=True, gc=False):
    """A user or group."""

    id: str
    """Decimal uid or gid; a SID on Windows."""
    name: str | None
    """From the host's account database; None when it has no entry."""


class UnixIds(Struct, frozen=True, gc=False):
    """User and group ids of a process (Linux, macOS). Source: /proc/PID/status Uid, Gid; struct cred."""

    user: Account
    """Real user."""
    effective_user: Account
    saved_user: Account
    fs_user: Account | None
    """Linux only: the user of file accesses."""
    group: Account
    effective_group: Account
    saved_group: Account
    fs_group: Account | None


class Executable(Struct, frozen=True, gc=False):
    """The file a process runs."""

    path: str
    """As the kernel names it, without its ` (deleted)` mark."""
    device: int | None = None
    """st_dev of the running image."""
    inode: int | None = None
    deleted: bool = False
    """The running image has no name any more."""
    replaced: bool | None = False
    """Deleted, and another file stands at its path now; None when that could not be looked at."""
    memfd: bool = False
    """Runs from memory (memfd_create)."""


class Session(Struct, frozen=True, gc=False):
    """Job control: where a process hangs."""

    session: int | None
    """Session id (Windows: terminal session)."""
    group: int | None
    """Process group id."""
    terminal: str | None
    """Controlling terminal, such as ``pts/3``; None without one."""


class Schedule(Struct, frozen=True, gc=False):
    """How the main thread is scheduled."""

    policy: str
    """Such as ``other``, ``fifo``, ``rr``, ``batch``, ``idle``, ``deadline``; Windows: ``variable``, ``realtime``."""
    priority: int
    """The system's own number (Linux: stat field 18; Windows: base priority)."""
    nice: int | None
    realtime_priority: int | None


class Cpu(Struct, frozen=True, gc=False):
    """Processor time of all threads, dead ones included."""

    user_ns: int
    system_ns: int
    children_user_ns: int | None = None
    """Of children that were waited for."""
    children_system_ns: int | None = None
    ratio: float | None = None
    """Share of one core between two samples, 1.0 = one core busy; only when two samples were asked for."""


class Memory(Struct, frozen=True, gc=False):
    """Memory of the address space, in bytes."""

    virtual_bytes: int
    resident_bytes: int
    shared_bytes: int | None
    """Resident pages of files and shared memory."""
    swap_bytes: int | None
    peak_virtual_bytes: int | None
    peak_resident_bytes: int | None
    proportional_bytes: int | None = None
    """PSS, on request (field `memory_detail`)."""
    unique_bytes: int | None = None
    """USS, on request."""


class Io(Struct, frozen=True, gc=False):
    """Bytes read and written by all threads, dead ones included."""

    read_bytes: int | None
    """Fetched from storage."""
    written_bytes: int | None
    """Sent towards storage."""
    read_call_bytes: int | None
    """Asked for by read calls, caches and pipes included; None on macOS."""
    written_call_bytes: int | None


class Activity(Struct, frozen=True, gc=False):
    """Counters of paging and scheduling."""

    minor_faults: int
    """All threads."""
    major_faults: int
    """All threads; needed storage."""
    voluntary_switches: int | None
    """Main thread only: what /proc/PID/status counts."""
    involuntary_switches: int | None


class Ancestor(Struct, frozen=True, gc=False):
    """One step of a process's ancestry."""

    key: ProcessKey
    name: str


class Digest(Struct, frozen=True, gc=False):
    """What is known of the content of an executable."""

    sha256: str
    """Of the running image, even when its file was replaced or deleted."""
    size_bytes: int
    package: str | None = None
    """Owner package, with its version."""
    package_match: bool | None = None
    """Whether the package database's digest equals the file's; None when there is none to compare."""
    setuid: bool | None = None
    setgid: bool | None = None
    file_capabilities: tuple[str, ...] | None = ()
    """Names in the executable's capability sets, permitted or inheritable; None when they could not be read."""


class Process(Struct, frozen=True, gc=False):
    """One process. `None` without an entry in `gaps` means: does not apply to this process."""

    key: ProcessKey
    ppid: int | None
    """Parent's pid in the same PID namespace; 0 for none."""
    name: str
    """The kernel's short name (Linux: comm, at most 15 bytes, longer for kernel workers; Windows: the program's file
    name)."""
    state: str | None = None
    """``running sleeping disk-sleep stopped tracing-stop dead zombie parked idle``."""
    kernel: bool | None = None
    """A thread of the kernel, or a process without a user address space."""
    started_at_ns: int | None = None
    """UTC since the epoch."""
    exe: Executable | None = None
    argv: tuple[str, ...] | None = None
    cwd: str | None = None
    root: str | None = None
    """Root directory, as this host names it."""
    owner: Account | None = None
    """The effective user."""
    ids: UnixIds | None = None
    groups: tuple[Account, ...] | None = None
    """Supplementary groups."""
    session: Session | None = None
    threads: int | None = None
    schedule: Schedule | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    io: Io | None = None
    open_files: int | None = None
    """Number of open file descriptors or handles. Linux counts one that a waiting `accept` or `open` has taken, too."""
    activity: Activity | None = None
    security: Security | None = None
    """What this process may do, the same question on every system."""
    container: Container | None = None
    service: Service | None = None
    digest: Digest | None = None
    ancestry: tuple[Ancestor, ...] | None = None
    """Parent first."""
    linux: LinuxContext | None = None
    windows: WindowsContext | None = None
    macos: MacosContext | None = None
    gaps: tuple[Gap, ...] = ()
    signature: Signature | None = None
    """Who vouches for the running image (field `signature`, which is in no set: it has to be named)."""

    @property
    def pid(self) -> int:
        """The number in `key`; not an identity."""
        return self.key.pid
