"""One operating system, to act on. Only `hostscope.respond` may import it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from msgspec.structs import replace

from hostscope.errors import Denied, Gone, Mismatch, Unsupported
from hostscope.model.container import Container
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.process import Process
from hostscope.model.response import Identity
from hostscope.model.syscall import TraceRequest
from hostscope.model.windows import WindowsContext
from hostscope.platforms.base_control import Snapshot, Spawned
from hostscope.platforms.base_program import Privileges as PrivilegesProtocol
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import debugger, protection, roles, spawn, still, system_dump, translate
from hostscope.platforms.windows.clock import Boot, read_boot
from hostscope.platforms.windows.identity import hold
from hostscope.platforms.windows.native import control, desktop, handles
from hostscope.platforms.windows.privileges import Privileges

ENDED_BY_US = 1
"""Exit code of processes that we end."""


def _marked(process: int, record: Process) -> WindowsContext:
    """The record's context with the marks that prove what it is to the host; None of what could not be read."""
    shield = protection.read_marks(process)
    return replace(
        record.windows or WindowsContext(), critical=shield.critical, protection=shield.level, secure=shield.secure
    )


class Control:
    """Implements `hostscope.platforms.base_control.Control`.

    Every act goes through a handle that was compared with the key: creation times are 100 ns apart and never the same
    for two processes of one pid, so keys need no serial.
    """

    def __init__(self, boot: Boot | None = None, privileges: PrivilegesProtocol | None = None) -> None:
        self._boot = boot or read_boot()
        self._privileges = privileges or Privileges()
        self._spawned: set[ProcessKey] = set()

    def pin(self, key: ProcessKey) -> ProcessKey:
        """The same key: it means one process only.

        Raises:
            Gone, Mismatch
        """
        with self._hold(key, 0, "identify"):
            return key

    def identify(self, process: Process) -> Identity:
        """Who a process is, by its pinned key, file, user, session, and the kernel's marks now; changes nothing.

        Raises:
            Gone, Denied, Mismatch

        Cost: a dozen calls.
        """
        key = process.key
        with self._hold(key, 0, "identify") as handle:
            permitted = self._may(key, handles.PROCESS_TERMINATE | handles.PROCESS_SUSPEND_RESUME)
            return Identity(key, roles.role_of(replace(process, windows=_marked(handle, process))), permitted)

    def terminate(self, key: ProcessKey, force: bool) -> None:
        """Asks its windows to close, or ends the process; returns before it has ended.

        Windows has no way to ask a program without windows: a console event would go to everybody in its console.

        Raises:
            Gone, Denied, Mismatch
            Unsupported: it has no windows that could be asked.
        """
        if force:
            self._act(key, handles.PROCESS_TERMINATE, "end", lambda process: control.terminate(process, ENDED_BY_US))
        else:
            with self._hold(key, 0, "ask"):
                self._ask(key)

    def suspend(self, key: ProcessKey) -> None:
        """Suspends every thread; each suspension needs a resumption of its own. Raises as `terminate`."""
        self._act(key, handles.PROCESS_SUSPEND_RESUME, "suspend", control.suspend)

    def resume(self, key: ProcessKey) -> None:
        """Takes one suspension back from every thread. Raises as `terminate`."""
        self._act(key, handles.PROCESS_SUSPEND_RESUME, "resume", control.resume)

    def wait(self, key: ProcessKey, timeout_s: float) -> bool:
        """Whether the process has ended, at the latest when the time is up; one that is gone has."""
        try:
            with self._hold(key, 0, "wait for") as process:
                return control.has_ended(process, timeout_s)
        except (Gone, Mismatch):
            return True

    def terminate_container(self, member: ProcessKey, container: Container) -> bool:
        """Not by one call: its processes are ended each by itself.

        Windows ends a container through the service that made it (vmcompute); no job of it can be opened.

        Raises:
            Gone, Denied, Mismatch
        """
        with self._hold(member, 0, "identify"):
            return False

    def freeze(self, key: ProcessKey) -> AbstractContextManager[tuple[ThreadState, ...]]:
        """See `still.freeze`."""
        return still.freeze(self._boot, self._privileges, key)

    def registers(self, key: ProcessKey) -> tuple[ThreadState, ...]:
        """See `still.registers`."""
        return still.registers(self._boot, self._privileges, key)

    def snapshot(self, key: ProcessKey) -> AbstractContextManager[Snapshot]:
        """See `still.snapshot`."""
        return still.snapshot(self._boot, self._privileges, key)

    def write_dump(self, key: ProcessKey, fd: int) -> None:
        """See `system_dump.write`."""
        system_dump.write(self._boot, self._privileges, key, fd)

    def spawn(self, argv: tuple[str, ...]) -> AbstractContextManager[Spawned]:
        """See `spawn.spawn`."""
        return spawn.spawn(self._boot, argv, self._spawned)

    def trace(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """See `debugger.trace`."""
        return debugger.trace(self._boot, self._privileges, request, stop, tally, self._spawned)

    def _hold(self, key: ProcessKey, access: int, verb: str) -> AbstractContextManager[int]:
        return hold(self._boot, self._privileges, key, access, f"{verb} process {key}")

    def _act(self, key: ProcessKey, access: int, verb: str, act: Callable[[int], None]) -> None:
        with self._hold(key, access, verb) as process:
            try:
                act(process)
            except OSError as failed:
                if control.has_ended(process):
                    raise Gone(f"process {key.pid} has ended") from failed
                raise translate.error(verb, failed, key.pid) from failed

    def _ask(self, key: ProcessKey) -> None:
        try:
            asked = desktop.ask_to_close(key.pid)
        except OSError as failed:
            raise translate.error("EnumWindows", failed) from failed
        if not asked:
            raise Unsupported(f"process {key.pid} has no windows that could be asked to close", "force it")

    def _may(self, key: ProcessKey, access: int) -> bool:
        """Whether a handle that acts can be had; it is closed at once."""
        try:
            with self._hold(key, access, "see who may act on"):
                return True
        except Denied:
            return False
