"""What an operating system can be asked. Four folders answer: linux, windows, macos, replay.

`Host` only looks; `Control` acts. A method that a system does not have raises `Unsupported` with the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:  # its module brings NumPy along
    from hostscope.model.capture import CaptureCounts, CaptureInterface, CaptureRequest
    from hostscope.model.container import Container
    from hostscope.model.detail import ProcessDetail
    from hostscope.model.dns import DnsQuery, Resolver
    from hostscope.model.dump import Reserve
    from hostscope.model.event import Event, EventRequest
    from hostscope.model.gap import Gap
    from hostscope.model.host import Ability, HostCounters, HostInfo, NamedCounter, ProcessView
    from hostscope.model.interface import Interface
    from hostscope.model.key import ProcessKey
    from hostscope.model.memory import Region, ThreadState
    from hostscope.model.package import FileOwner
    from hostscope.model.process import Digest, Executable, Process
    from hostscope.model.request import ProcessRequest
    from hostscope.model.response import Identity
    from hostscope.model.security import HostSecurity
    from hostscope.model.service import ServiceState
    from hostscope.model.signature import Seal
    from hostscope.model.socket import Socket, SocketRequest
    from hostscope.model.syscall import TraceRequest
    from hostscope.model.traffic import Reading, TrafficRequest
    from hostscope.platforms.tally import Tally
    from hostscope.wire.batch import PacketBatch

Columns = Mapping[str, Any]
"""Column name -> NumPy array; all of one length."""


class Processes(Protocol):
    """Every process, or one."""

    def sweep(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        """All processes, in ascending pid order; `tally` counts what happened and is whole at the end.

        One process's failure never ends a sweep.

        Raises:
            UsageError: `request.method` is no method of this system.
            Unsupported, Denied: the named method cannot be used here; at the latest with the first row.
        """

    def columns(self, request: ProcessRequest, tally: Tally) -> Columns:
        """The same answer, column by column, for analysis: see `hostscope.platforms.columnar`."""

    def read(self, pid: int, request: ProcessRequest) -> Process:
        """One process.

        Raises:
            Gone, Denied
        """

    def detail(self, key: ProcessKey, parts: frozenset[str]) -> ProcessDetail:
        """What one process holds; `parts` are field names of `ProcessDetail`.

        Raises:
            Gone: it ended.
            Mismatch: the pid is another process's now.
        """

    def views(self) -> Iterator[ProcessView]:
        """The pids that each way of looking shows; a hidden process is missing from some."""


class Security(Protocol):
    """The host's own security state."""

    def state(self) -> HostSecurity: ...


class Files(Protocol):
    """Content of executables."""

    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        """SHA-256 and modes of the running image; cached by (device, inode, size, mtime, ctime).

        Raises:
            Gone, Denied, Unavailable
        """

    def matches(self, key: ProcessKey, exe: Executable, owner: FileOwner) -> bool | None:
        """Whether the running image is what its package brought; None when the database has no digest of it.

        Raises:
            Gone, Denied, Unavailable
        """

    def seals(self, file: BinaryIO) -> tuple[Seal, ...]:
        """What the file system keeps beside an open file to vouch for it; none where it has no such thing.

        Raises:
            Denied, Unavailable
        """

    def changed_at_ns(self, file: BinaryIO) -> int:
        """When an open file last changed, its times included: setting those back does not set this back.

        Raises:
            Unavailable, Unsupported
        """

    def catalogs(self, file: BinaryIO) -> tuple[str, ...]:
        """Paths of the catalogues, installed on this host, that list an open file; none where there are no such.

        The system is believed in where to look only: what a catalogue says is judged by its signature.

        Raises:
            Denied, Unsupported, NativeError: they cannot be asked.
        """

    def reserve(self, fd: int) -> Reserve | None:
        """What finds room for bytes ahead of writing them into an open file; None where that would gain nothing."""


class Packages(Protocol):
    """The package database."""

    def owner(self, path: str) -> FileOwner | None:
        """The package that installed `path`; None when no package did.

        Raises:
            Unavailable: there is no database that can be read.
        """


class Containers(Protocol):
    """Containers, by the runtimes' local state."""

    def describe(self, container: Container) -> Container:
        """The same container with the name, image and pod that local state tells."""

    def containers(self) -> Iterator[Container]:
        """Every container that local state or a control group shows."""


class Services(Protocol):
    """The service manager."""

    def services(self) -> Iterator[ServiceState]:
        """Every unit that is loaded."""

    def service(self, name: str) -> ServiceState:
        """One unit.

        Raises:
            Gone: no unit has that name.
        """

    def changes(self, stop: threading.Event, interval_s: float) -> Iterator[Event]:
        """State changes until `stop`; the manager's own events, else polling (named in `Event.source`)."""


class Sockets(Protocol):
    """Sockets and their owners."""

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        """Every socket; `tally` is whole at the end.

        Raises:
            UsageError: `request.method` is no method of this system.
            Unsupported, Denied: the named method cannot be used here; at the latest with the first row.
        """

    def owners(self, port: int) -> tuple[int, ...]:
        """Pids of the processes with a TCP or UDP socket bound to a local port, listeners first."""


class Meter(Protocol):
    """Counts traffic from when it was opened until it is closed."""

    method: str
    """As in `TrafficRequest.method`."""

    def read(self) -> Reading:
        """Everything counted since the meter was opened; flows that ended included."""


class Traffic(Protocol):
    """Traffic by process."""

    def open(self, request: TrafficRequest, tally: Tally) -> AbstractContextManager[Meter]:
        """Starts to count; `tally` says by which method, why not a better one, and what it misses.

        Raises:
            UsageError: `request.method` is no method of this system, or an interface does not exist.
            Unsupported, Denied: the named method cannot be used here.
        """


class PacketSource(Protocol):
    """Packets as they pass."""

    interfaces: tuple[CaptureInterface, ...]

    def batches(self, stop: threading.Event) -> Iterator[PacketBatch]:
        """Packets in the order of each interface until `stop`; a batch is valid until the next one is asked for.

        Where nothing passes, an empty batch comes several times a second.
        """

    def counts(self) -> tuple[CaptureCounts, ...]:
        """What was received and dropped since the capture was opened."""


class Capture(Protocol):
    """Packets of interfaces."""

    def open(self, request: CaptureRequest, tally: Tally) -> AbstractContextManager[PacketSource]:
        """Starts to capture.

        Raises:
            UsageError: an interface does not exist, or the filter is wrong.
            Denied, Unsupported
        """


class Interfaces(Protocol):
    """Network interfaces."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        """Every interface of every network namespace that can be looked into, ours first."""


class Resolvers(Protocol):
    """How names are resolved."""

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        """Every configured server, in the order in which it is asked."""

    def queries(self, stop: threading.Event, tally: Tally) -> Iterator[DnsQuery]:
        """Questions of this host's programs until `stop`, as its own resolver tells of them, with who asked.

        Raises:
            Unsupported: it tells nobody; packets do. Denied. At the latest with the first row.
        """


class AddressSpace(Protocol):
    """The memory of one process, opened once: what is read is that process's, or nothing. For several threads."""

    auxiliary_vector: bytes
    """As the system gave it to the program; empty where there is none."""

    @property
    def method(self) -> str:
        """How memory is read, and how untouched pages are told apart."""

    def read(self, address: int, into: memoryview) -> int:
        """Reads up to ``len(into)`` bytes; how many there were from `address` on before the first unreadable page.

        Raises:
            Gone: the process ended, or runs another program now.
        """

    def read_bytes(self, address: int, size: int) -> bytes:
        """The same as bytes of their own, without copying them once more. Raises as `read`."""

    def gather(self, ranges: Sequence[tuple[int, int]], into: memoryview) -> bool:
        """Reads all of several ranges, one behind the other in `into`, in one call.

        Returns:
            False where that could not be, whatever is in `into`: each range is to be read on its own.

        Raises:
            Gone: the process ended, or runs another program now.
        """

    def resident(self, region: Region) -> Iterator[tuple[int, int]]:
        """The ranges that hold pages, ascending: what was never touched reads as zeros and is left out.

        Raises:
            Gone
        """

    def check(self) -> None:
        """Looks, after reading, whether all of it is of one program.

        Raises:
            Gone: it runs another program now; what was read may be of two.
        """


class Memory(Protocol):
    """Address spaces of processes."""

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        """All mappings, ascending; with `details` what each holds, which walks page tables.

        Raises:
            Gone, Denied, Mismatch
        """

    def open(self, key: ProcessKey) -> AbstractContextManager[AddressSpace]:
        """The address space of this very process.

        Raises:
            Gone, Denied, Mismatch
        """

    def give_way(self) -> None:
        """Others run before the calling thread from now on: who reads memory must not slow down whose it is.

        Nothing happens where the system has no such thing.
        """

    def executable(self, key: ProcessKey) -> AbstractContextManager[BinaryIO]:
        """The file that this very process runs, whatever stands at its path now.

        Raises:
            Gone, Denied, Mismatch
        """


class Events(Protocol):
    """What happens to processes."""

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Events in order until `stop`; losses are events too, where they happened.

        Raises:
            UsageError: `request` names no kind or method of this system.
            Denied, Unsupported: the named method cannot be used here; at the call, not with the first event.
        """


class Syscalls(Protocol):
    """System calls of processes, seen without touching them."""

    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Calls as they return until `stop`, or until the last traced process has ended.

        Raises:
            UsageError: `request` names no call or method of this system.
            Gone, Denied, Mismatch, Unsupported
        """


class Counters(Protocol):
    """The host's counters."""

    def read(self) -> HostCounters: ...

    def named(self, paths: tuple[str, ...], interval_s: float) -> Iterator[NamedCounter]:
        """The system's own counters by name, an asterisk for all instances; rates are taken over `interval_s`.

        Raises:
            UsageError: there is no counter of that name.
            Unsupported: this system has no counters by name.
        """


class System(Protocol):
    """What the host is."""

    def info(self) -> HostInfo: ...

    def report(self, severity: str, text: str) -> None:
        """Writes an entry to the host's own log, for who asked for that.

        Args:
            severity: ``info warning error``.

        Raises:
            Denied, Unavailable, NativeError
        """


class Console(Protocol):
    """The console that this program was started on. It belongs to the program, not to the host that it looks at."""

    def prepare(self) -> None:
        """Has it take UTF-8 and the sequences that we draw with."""

    def serving(self, name: str) -> AbstractContextManager[Callable[[int], None]]:
        """The block is the service of that name, which the service manager started us as.

        Its events come to who is `listening`; what is given takes the exit code that the manager is told.

        Raises:
            UsageError: we were not started by the service manager.
            Unsupported: programs need nothing of the kind to be services here.
        """

    def listening(self, take: Callable[[str], bool]) -> AbstractContextManager[None]:
        """Until the block ends, `take` is called, from another thread, with each event that is not a signal.

        Events are ``interrupt break close logoff shutdown``. `take` says whether nobody else need see the event; after
        the last three the program is ended within seconds, whatever it says.
        """


class Autostart(Protocol):
    """Live commands that the system's service manager runs. Only `hostscope.respond` may import it."""

    def install(self, name: str, arguments: tuple[str, ...]) -> str:
        """Registers a service of ours that runs ``hostscope ARGUMENTS``; the command line that was registered.

        Raises:
            UsageError: something has the name already.
            Denied, Unsupported
        """

    def command(self, name: str) -> str:
        """The command line of a service; only those that `install` made are ours.

        Raises:
            Gone: there is no such service.
            Refused: it is not ours.
            Denied, Unsupported
        """

    def start(self, name: str) -> None:
        """Starts it; returns before it runs. Raises as `command`."""

    def stop(self, name: str) -> None:
        """Has it end as an interrupt would; returns before it has. Raises as `command`."""

    def remove(self, name: str) -> None:
        """Registers it no more; one that runs goes when it has stopped. Raises as `command`."""


class Privileges(Protocol):
    """What we may do ourselves."""

    def held(self) -> tuple[str, ...]:
        """Privileges in effect now, by the system's names."""

    def abilities(self) -> tuple[Ability, ...]:
        """Each capability of hostscope here: available or not, why, and what enables it."""

    def lower_all(self) -> None:
        """Takes every privilege out of effect that no open `using` block raised; they can be raised again."""

    def using(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        """Raises the named privileges for the block and lowers them again; both steps go to the audit trail."""

    def limit_to(self, command: str, writes: bool = False) -> None:
        """The program runs this live command and nothing else: what it never needs is given up, for good.

        Args:
            command: the word typed.
            writes: it writes files while it runs, in spite of their permissions if need be.
        """

    def settle(self, method: str | None = None) -> None:
        """What a live command reads from is open: what it needs no more is given up, for good.

        Nothing happens without `limit_to`. Call it before threads are started.
        """


@dataclass(frozen=True)
class Host:
    """One operating system, to look at."""

    name: str
    """``linux windows macos replay``."""
    processes: Processes
    security: Security
    files: Files
    packages: Packages
    containers: Containers
    services: Services
    sockets: Sockets
    traffic: Traffic
    capture: Capture
    interfaces: Interfaces
    resolvers: Resolvers
    memory: Memory
    events: Events
    syscalls: Syscalls
    counters: Counters
    system: System
    privileges: Privileges
    gaps: tuple[Gap, ...] = ()
    """What this host as a whole cannot answer; fields of processes by their path, such as ``cpu.ratio``."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a process that the system made at one moment."""

    threads: tuple[ThreadState, ...]
    regions: tuple[Region, ...]
    space: AddressSpace


class Spawned(Protocol):
    """A program that was started and waits before its first instruction."""

    key: ProcessKey
    begins_with: str | None
    """The call by which the waiting process becomes the program; None where it is the program from the start."""

    def release(self) -> None:
        """Lets it run."""

    def wait(self) -> int:
        """Waits for its end; its exit code, or 128 and the signal that ended it."""


class Control(Protocol):
    """One operating system, to act on. Only `hostscope.respond` may import it."""

    def pin(self, key: ProcessKey) -> ProcessKey:
        """The same key with its serial, or, without serials, known to mean one process only; changes nothing.

        Raises:
            Gone, Mismatch, Unsupported
        """

    def identify(self, process: Process) -> Identity:
        """Who a process is, by its pinned key, its file, its user and its unit; changes nothing.

        Raises:
            Gone, Mismatch, Unsupported
        """

    def terminate(self, key: ProcessKey, force: bool) -> None:
        """Asks (SIGTERM) or forces (SIGKILL) one process to end; returns before it has.

        This and the other acts compare the whole key again, through a handle of the process that then is acted on.

        Raises:
            Gone, Denied, Mismatch, Unsupported
        """

    def suspend(self, key: ProcessKey) -> None:
        """Stops every thread (SIGSTOP); returns before it has. Raises as `terminate`."""

    def resume(self, key: ProcessKey) -> None:
        """Lets a stopped process run on (SIGCONT). Raises as `terminate`."""

    def wait(self, key: ProcessKey, timeout_s: float) -> bool:
        """Whether the process has ended, at the latest when the time is up; one that is gone has.

        Raises:
            Unsupported
        """

    def terminate_container(self, member: ProcessKey, container: Container) -> bool:
        """Forces all processes of the container of `member` to end at once; False where the kernel cannot do that.

        Raises:
            Gone, Denied, Mismatch, Unsupported
        """

    def freeze(self, key: ProcessKey) -> AbstractContextManager[tuple[ThreadState, ...]]:
        """Every thread stands still for the block, and runs on afterwards whatever happens to us; with registers.

        Raises:
            Gone, Denied, Mismatch, Unsupported
        """

    def registers(self, key: ProcessKey) -> tuple[ThreadState, ...]:
        """The registers of every thread, each stopped for a moment; see `ThreadState.stopped_ns`.

        Raises:
            Gone, Denied, Mismatch, Unsupported
        """

    def snapshot(self, key: ProcessKey) -> AbstractContextManager[Snapshot]:
        """A copy of the process as it is now, for the block; it stands still only while the copy is made.

        Raises:
            Gone, Denied, Mismatch
            Unsupported: this system makes no copies of processes.
        """

    def write_dump(self, key: ProcessKey, fd: int) -> None:
        """Has the system itself write its form of a dump into an open file; the process stands still meanwhile.

        Raises:
            Gone, Denied, Mismatch
            Unsupported: this system writes no dumps of running processes.
        """

    def spawn(self, argv: tuple[str, ...]) -> AbstractContextManager[Spawned]:
        """Starts a program that waits for its release; one that is not released ends with the block.

        Raises:
            UsageError, Unsupported
        """

    def trace(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """System calls, by stopping the process at each of them; see `Syscalls.watch`."""
