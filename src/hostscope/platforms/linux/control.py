"""One operating system, to act on. Only `hostscope.respond` may import it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from hostscope.errors import Denied, Gone, Mismatch, Unsupported
from hostscope.model.container import Container
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.process import Process
from hostscope.model.response import Identity
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.base_control import Snapshot, Spawned
from hostscope.platforms.linux import container_group, pidfd, ptrace_stop, ptrace_trace, roles, spawn
from hostscope.platforms.linux.clock import Boot, read_boot
from hostscope.platforms.linux.privileges import READ_OTHERS, Privileges
from hostscope.platforms.linux.translate import REFUSED
from hostscope.platforms.tally import Tally

SIGNAL_OTHERS = ("kill",)
"""What signalling processes of other users takes."""
Result = TypeVar("Result")


class Control:
    """Implements `hostscope.platforms.base_control.Control`."""

    def __init__(self, boot: Boot | None = None, privileges: Privileges | None = None) -> None:
        self._boot = boot or read_boot()
        self._privileges = privileges or Privileges()
        self._statuses: dict[int, int] = {}
        """Of children that were traced: the tracer hears of their end."""

    def pin(self, key: ProcessKey) -> ProcessKey:
        """The same key with its serial, or, without serials, known to mean one process only; changes nothing.

        Raises:
            Gone, Mismatch, Unsupported
        """
        with pidfd.hold(self._boot, key) as fd:
            return pidfd.pinned(fd, self._boot, key)

    def identify(self, process: Process) -> Identity:
        """Who a process is, by its pinned key, its file, its user and its unit; changes nothing.

        Whether we may signal it is tried with signal 0, which does nothing else.

        Raises:
            Gone, Mismatch, Unsupported
        """
        key = process.key
        with pidfd.hold(self._boot, key) as fd:
            pinned = pidfd.pinned(fd, self._boot, key)
            permitted = self._may_signal(fd, key.pid)
            image = self._image(process)
            pidfd.alive(fd, key.pid)  # so the image was this process's
            return Identity(pinned, roles.recognise(process, image), permitted, pidfd.has_ended(fd))

    def terminate(self, key: ProcessKey, force: bool) -> None:
        """Asks (SIGTERM) or forces (SIGKILL) one process to end; returns before it has.

        Raises:
            Gone, Denied, Mismatch, Unsupported
        """
        self._signal(key, signal.SIGKILL if force else signal.SIGTERM)

    def suspend(self, key: ProcessKey) -> None:
        """Stops every thread (SIGSTOP); returns before it has. Raises as `terminate`."""
        self._signal(key, signal.SIGSTOP)

    def resume(self, key: ProcessKey) -> None:
        """Lets a stopped process run on (SIGCONT). Raises as `terminate`."""
        self._signal(key, signal.SIGCONT)

    def wait(self, key: ProcessKey, timeout_s: float) -> bool:
        """Whether the process has ended, at the latest when the time is up; one that is gone has."""
        try:
            with pidfd.hold(self._boot, key) as fd:
                return pidfd.has_ended(fd, timeout_s)
        except (Gone, Mismatch):
            return True

    def terminate_container(self, member: ProcessKey, container: Container) -> bool:
        """Forces all processes of the container of `member` to end at once; False where the kernel cannot do that.

        Source: cgroup.kill of the unified hierarchy (Linux 5.14).

        Raises:
            Gone, Denied, Mismatch, Unsupported
        """
        with pidfd.hold(self._boot, member) as fd:
            group = container_group.find(member.pid, container)
            pidfd.alive(fd, member.pid)  # so the group was this process's
            return group is not None and container_group.kill(group, member.pid)

    def freeze(self, key: ProcessKey) -> AbstractContextManager[tuple[ThreadState, ...]]:
        """See `ptrace_stop.freeze`."""
        return ptrace_stop.freeze(self._boot, self._privileges, key)

    def registers(self, key: ProcessKey) -> tuple[ThreadState, ...]:
        """See `ptrace_stop.registers`."""
        return ptrace_stop.registers(self._boot, self._privileges, key)

    def snapshot(self, key: ProcessKey) -> AbstractContextManager[Snapshot]:
        """Linux makes no copies of other processes: `freeze` has to do."""
        raise Unsupported("Linux makes no copies of other processes", "freeze it while it is read")

    def write_dump(self, key: ProcessKey, fd: int) -> None:
        """Linux writes cores of processes that crash only."""
        raise Unsupported("Linux writes cores of processes that crash only", "leave --image out")

    def spawn(self, argv: tuple[str, ...]) -> AbstractContextManager[Spawned]:
        """See `spawn.spawn`."""
        return spawn.spawn(self._boot, argv, self._statuses)

    def trace(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """See `ptrace_trace.trace`."""
        return ptrace_trace.trace(self._boot, self._privileges, request, stop, tally, self._statuses)

    def _signal(self, key: ProcessKey, number: int) -> None:
        pidfd.refuse_newborn(key)
        with pidfd.hold(self._boot, key) as fd:
            if pidfd.has_ended(fd):
                raise Gone(f"process {key.pid} has ended; its parent has not waited for it")
            why = f"signal {signal.Signals(number).name} to process {key}"
            self._with_privilege(lambda: pidfd.send(fd, key.pid, number), why)

    def _may_signal(self, fd: int, pid: int) -> bool:
        try:
            self._with_privilege(lambda: pidfd.send(fd, pid, 0), f"see whether process {pid} may be signalled")
        except Denied:
            return False
        return True

    def _with_privilege(self, act: Callable[[], Result], why: str) -> Result:
        """First as we are: a privilege that is not needed is not used."""
        try:
            return act()
        except Denied:
            if not self._privileges.available(SIGNAL_OTHERS):
                raise
            with self._privileges.using(SIGNAL_OTHERS, why):
                return act()

    def _image(self, process: Process) -> roles.Image | None:
        if process.exe is None or process.kernel:
            return None
        pid, path = process.key.pid, process.exe.path
        try:
            return roles.read_image(pid, path)
        except OSError as failed:
            if failed.errno not in REFUSED or not self._privileges.available(READ_OTHERS):
                return None
        with self._privileges.using(READ_OTHERS, f"look at the executable of process {pid}"):
            try:
                return roles.read_image(pid, path)
            except OSError:
                return None  # a zombie has none, and a security module may keep it; then there is no role
