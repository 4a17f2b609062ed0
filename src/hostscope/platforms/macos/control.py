"""One operating system, to act on. Only `hostscope.respond` may import it."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

from hostscope.errors import Denied, Unsupported
from hostscope.model.container import Container
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.process import Process
from hostscope.model.response import Identity
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.base_control import Snapshot, Spawned
from hostscope.platforms.macos import roles, signalling, spawn, stopping, tasks
from hostscope.platforms.macos.clock import Boot, read_boot
from hostscope.platforms.macos.memory import Memory
from hostscope.platforms.macos.native import csops
from hostscope.platforms.macos.privileges import READ_OTHERS, Privileges
from hostscope.platforms.macos.syscalls import REASON
from hostscope.platforms.tally import Tally


class Control:
    """Implements `hostscope.platforms.base_control.Control`."""

    def __init__(self, boot: Boot | None = None, privileges: Privileges | None = None) -> None:
        self._boot = boot or read_boot()
        self._privileges = privileges or Privileges()

    def pin(self, key: ProcessKey) -> ProcessKey:
        """The same key: starts have microseconds, and pids go round at 99,999, so no two processes share both.

        Raises:
            Gone, Mismatch
        """
        tasks.check(self._boot, key)
        return key

    def identify(self, process: Process) -> Identity:
        """Who a process is, by its file, its user and what the kernel says of its signature; changes nothing.

        Raises:
            Gone, Mismatch
        """
        key = process.key
        flags = self._signature(key.pid)
        permitted = signalling.may_signal(key.pid) or self._may_as_root(key.pid)
        ended = signalling.has_ended(self._boot, key)  # compares the key: so the rest was this process's, too
        return Identity(key, roles.recognise(process, flags), permitted, ended)

    def terminate(self, key: ProcessKey, force: bool) -> None:
        """Asks (SIGTERM) or forces (SIGKILL) one process to end; returns before it has. See `signalling`.

        Raises:
            Gone, Denied, Mismatch
        """
        self._send(key, signalling.KILL if force else signalling.TERMINATE)

    def suspend(self, key: ProcessKey) -> None:
        """Stops every thread (SIGSTOP); returns before it has. Raises as `terminate`."""
        self._send(key, signalling.STOP)

    def resume(self, key: ProcessKey) -> None:
        """Lets a stopped process run on (SIGCONT). Raises as `terminate`."""
        self._send(key, signalling.CONTINUE)

    def wait(self, key: ProcessKey, timeout_s: float) -> bool:
        """Whether the process has ended, at the latest when the time is up; one that is gone has."""
        return signalling.wait(self._boot, key, timeout_s)

    def terminate_container(self, member: ProcessKey, container: Container) -> bool:
        """False: macOS' kernel knows no containers; those of Docker Desktop are Linux' inside its virtual machine."""
        tasks.check(self._boot, member)
        return False

    def freeze(self, key: ProcessKey) -> AbstractContextManager[tuple[ThreadState, ...]]:
        """See `stopping.freeze`."""
        return stopping.freeze(self._boot, key, self._privileges)

    def registers(self, key: ProcessKey) -> tuple[ThreadState, ...]:
        """See `stopping.registers`."""
        return stopping.registers(self._boot, key, self._privileges)

    def snapshot(self, key: ProcessKey) -> AbstractContextManager[Snapshot]:
        """See `stopping.snapshot`."""
        return stopping.snapshot(self._boot, Memory(self._boot, self._privileges), key, self._privileges)

    def write_dump(self, key: ProcessKey, fd: int) -> None:
        """macOS writes cores of processes that crash only."""
        raise Unsupported("macOS writes cores of processes that crash only", "leave --image out")

    def spawn(self, argv: tuple[str, ...]) -> AbstractContextManager[Spawned]:
        """See `spawn.spawn`."""
        return spawn.spawn(self._boot, argv)

    def trace(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Not on macOS: its ptrace(2) does not stop a process at its calls.

        Raises:
            Unsupported
        """
        raise Unsupported("macOS' ptrace does not stop a process at its system calls", REASON)

    def _send(self, key: ProcessKey, number: int) -> None:
        """First as we are: a privilege that is not needed is not used."""
        try:
            signalling.send(self._boot, key, number)
        except Denied:
            if not self._privileges.available(READ_OTHERS):
                raise
            with self._privileges.using(READ_OTHERS, f"signal {number} to process {key}"):
                signalling.send(self._boot, key, number)

    def _may_as_root(self, pid: int) -> bool:
        if not self._privileges.available(READ_OTHERS):
            return False
        with self._privileges.using(READ_OTHERS, f"see whether process {pid} may be signalled"):
            return signalling.may_signal(pid)

    def _signature(self, pid: int) -> int | None:
        try:
            return csops.Signatures().status(pid)
        except OSError:
            return None
