"""What an operating system can be asked. Four folders answer: linux, windows, macos, replay.

`Host` only looks; `Control` acts. A method that a system does not have raises `Unsupported` with the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from hostscope.model.container import Container
    from hostscope.model.detail import ProcessDetail
    from hostscope.model.dump import Reserve
    from hostscope.model.event import Event, EventRequest
    from hostscope.model.gap import Gap
    from hostscope.model.host import HostCounters, HostInfo, NamedCounter, ProcessView
    from hostscope.model.key import ProcessKey
    from hostscope.model.package import FileOwner
    from hostscope.model.process import Digest, Executable, Process
    from hostscope.model.request import ProcessRequest
    from hostscope.model.security import HostSecurity
    from hostscope.model.service import ServiceState
    from hostscope.model.signature import Seal
    from hostscope.model.syscall import TraceRequest
    from hostscope.platforms.base_memory import Memory
    from hostscope.platforms.base_network import Capture, Interfaces, Resolvers, Sockets, Traffic
    from hostscope.platforms.base_program import Privileges
    from hostscope.platforms.tally import Tally


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
    at_ns: int | None = None
    """The moment that a recording shows; None for a host that goes on."""
