"""How a system is acted on. Only `hostscope.respond` may import what implements it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hostscope.model.container import Container
    from hostscope.model.event import Event
    from hostscope.model.key import ProcessKey
    from hostscope.model.memory import Region, ThreadState
    from hostscope.model.process import Process
    from hostscope.model.response import Identity
    from hostscope.model.syscall import TraceRequest
    from hostscope.platforms.base_memory import AddressSpace
    from hostscope.platforms.tally import Tally


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
