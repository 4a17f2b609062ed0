"""What an operating system can be asked. Four folders answer: linux, windows, macos, replay.

`Host` only looks; `Control` acts. A method that a system does not have raises `Unsupported` with the reason.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from hostscope.model.container import Container
from hostscope.model.detail import ProcessDetail
from hostscope.model.event import Event
from hostscope.model.gap import Gap
from hostscope.model.host import Ability, HostCounters, HostInfo, ProcessView
from hostscope.model.key import ProcessKey
from hostscope.model.package import FileOwner
from hostscope.model.process import Digest, Executable, Process
from hostscope.model.request import ProcessRequest
from hostscope.model.security import HostSecurity
from hostscope.model.service import ServiceState
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
        """The same answer, column by column, for analysis: see `hostscope.platforms.columnar`.

        Raises:
            ModuleNotFoundError: NumPy is not installed.
        """

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

    def owners(self, port: int) -> tuple[int, ...]:
        """Pids of the processes with a TCP or UDP socket bound to a local port, listeners first."""


class Counters(Protocol):
    """The host's counters."""

    def read(self) -> HostCounters: ...


class System(Protocol):
    """What the host is."""

    def info(self) -> HostInfo: ...


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
    counters: Counters
    system: System
    privileges: Privileges
    gaps: tuple[Gap, ...] = ()
    """What this host as a whole cannot answer; fields of processes by their path, such as ``cpu.ratio``."""


class Control(Protocol):
    """One operating system, to act on. Only `hostscope.respond` may import it."""

    def terminate(self, key: ProcessKey, force: bool) -> None:
        """Asks (SIGTERM) or forces (SIGKILL) one process to end.

        Raises:
            Gone, Denied, Mismatch, Unsupported
        """

    def suspend(self, key: ProcessKey) -> None: ...

    def resume(self, key: ProcessKey) -> None: ...
