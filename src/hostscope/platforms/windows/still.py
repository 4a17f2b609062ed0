"""Processes that stand still, and their registers.

Windows counts how often a thread was suspended, and nothing counts down when the one who suspended it dies. Since
Windows 11 a process can be suspended by an object that lets it run again when its handle is closed, however that
happens; before, a process that is frozen while we are killed stays so until somebody resumes it.
"""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hostscope.errors import Gone, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.platforms.base_control import Snapshot
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.address_space import AddressSpace
from hostscope.platforms.windows.clock import TICK_NS, Boot
from hostscope.platforms.windows.identity import Attempt, hold, persisting
from hostscope.platforms.windows.memory import READ, read_regions
from hostscope.platforms.windows.native import control, handles, snapshots, threads
from hostscope.platforms.windows.parse_context import FORMS, ContextForm
from hostscope.platforms.windows.parse_processes import ThreadEntry
from hostscope.platforms.windows.process_list import read_processes
from hostscope.platforms.windows.uninterrupted import uninterrupted

FREEZE = READ | handles.PROCESS_SUSPEND_RESUME | handles.PROCESS_SET_INFORMATION
CLONE = FREEZE | handles.PROCESS_VM_OPERATION | handles.PROCESS_DUP_HANDLE | 0x0080  # PROCESS_CREATE_PROCESS
TOUCH = handles.THREAD_SUSPEND_RESUME | handles.THREAD_GET_CONTEXT | handles.THREAD_QUERY_INFORMATION


@contextmanager
def freeze(boot: Boot, privileges: Privileges, key: ProcessKey) -> Iterator[tuple[ThreadState, ...]]:
    """Every thread stands still for the block; with registers.

    Raises:
        Gone, Denied, Mismatch
    """
    _not_ourselves(key)
    with hold(boot, privileges, key, FREEZE, f"freeze process {key.pid}") as process, _stopped(process, key.pid):
        yield _states(privileges, key, time.monotonic_ns())


def registers(boot: Boot, privileges: Privileges, key: ProcessKey) -> tuple[ThreadState, ...]:
    """The registers of every thread, each suspended for a moment.

    Raises:
        Gone, Denied, Mismatch
    """
    _not_ourselves(key)
    with hold(boot, privileges, key, 0, f"read the registers of process {key.pid}"):
        return _states(privileges, key)


@contextmanager
def snapshot(boot: Boot, privileges: Privileges, key: ProcessKey) -> Iterator[Snapshot]:
    """A copy of the address space at one moment; the process stands still only while it is made.

    Source: PssCaptureSnapshot (Windows 8.1).

    Raises:
        Unsupported: this Windows makes none. Gone, Denied, Mismatch
    """
    _not_ourselves(key)
    with hold(boot, privileges, key, CLONE, f"copy the memory of process {key.pid}") as process:
        with _stopped(process, key.pid):
            began = time.monotonic_ns()
            try:
                copy = snapshots.capture(process)
            except OSError as failed:
                raise translate.error("PssCaptureSnapshot", failed, key.pid) from failed
            states = _states(privileges, key, began)
        try:
            yield _of(copy, key.pid, states)
        finally:
            snapshots.free(copy)


def _not_ourselves(key: ProcessKey) -> None:
    """Whoever suspends the thread that it runs in waits for ever. Raises Unsupported."""
    if key.pid == os.getpid():
        raise Unsupported(f"process {key.pid} is hostscope itself, which cannot stand still for itself")


def _of(copy: int, pid: int, states: tuple[ThreadState, ...]) -> Snapshot:
    try:
        clone = snapshots.clone_of(copy)
        return Snapshot(states, read_regions(clone), AddressSpace(clone, pid, "PssCaptureSnapshot, ReadProcessMemory"))
    except OSError as failed:
        raise translate.error("PssQuerySnapshot", failed, pid) from failed


@contextmanager
def _stopped(process: int, pid: int) -> Iterator[None]:
    """By an object that lets it run on with us, else by counting."""
    with ExitStack() as held:
        with uninterrupted():  # else an interrupt may come when it stands still, and before we are to let it run
            held.callback(_run_on, process, _stop(process, pid))
        yield


def _stop(process: int, pid: int) -> int | None:
    """The object that stops it; None where it is counted."""
    try:
        change = control.begin_state_change(process)
    except (Unsupported, OSError):
        change = None
    try:
        if change is None:
            control.suspend(process)
        else:
            _change(change, process, control.PROCESS_SUSPEND_STATE)
    except OSError as failed:
        _close(change)
        raise translate.error("NtSuspendProcess", failed, pid) from failed
    return change


def _run_on(process: int, change: int | None) -> None:
    with uninterrupted():
        if change is None:
            _let_run(process)
        else:
            _change(change, process, control.PROCESS_RESUME_STATE)
            _close(change)


def _let_run(process: int) -> None:
    try:
        control.resume(process)
    except OSError:
        if not control.has_ended(process):
            raise


def _change(change: int, process: int, state: int) -> None:
    try:
        control.change_state(change, process, state)
    except OSError:
        if not control.has_ended(process):
            raise


def _close(change: int | None) -> None:
    if change is not None:
        handles.close(change)


def _entries(pid: int) -> list[ThreadEntry]:
    """Raises Gone."""
    for listed in read_processes():
        if listed.pid == pid:
            return list(listed.thread_entries())
    raise Gone(f"process {pid}: there is no such process")


def _states(privileges: Privileges, key: ProcessKey, stopped_at: int | None = None) -> tuple[ThreadState, ...]:
    """Of every thread. Those of other users are closed to administrators, too, but for the debug privilege.

    Args:
        stopped_at: since when all of them stand still (monotonic); None when each is stopped for a moment.

    Raises:
        Gone
    """
    with uninterrupted(), persisting(privileges, f"read the registers of process {key.pid}") as attempt:
        return tuple(_state(entry, stopped_at, attempt) for entry in _entries(key.pid))


def _state(entry: ThreadEntry, stopped_at: int | None, attempt: Attempt) -> ThreadState:
    asked = time.monotonic_ns() if stopped_at is None else stopped_at
    try:
        return attempt(lambda: _read(entry, asked, stopped_at is not None))
    except OSError as failed:
        return ThreadState(entry.tid, "", b"", unread=failed.strerror or str(failed))


def _read(entry: ThreadEntry, asked: int, suspended: bool) -> ThreadState:
    """Raises OSError: the thread ended, or may not be opened."""
    form = FORMS.get(platform.machine().lower())
    if form is None:
        raise OSError(0, f"the registers of {platform.machine()} are not known")
    with handles.opened_thread(entry.tid, TOUCH) as thread:
        began = time.perf_counter_ns()
        threads.suspend(thread)
        try:
            raw = _context(thread, form)
        finally:
            threads.resume(thread)
        stopped = 0 if suspended else time.perf_counter_ns() - began
        return ThreadState(
            tid=entry.tid, name="", registers=raw, stopped_ns=stopped, asked_mono_ns=asked,
            user_ns=entry.user_time * TICK_NS, system_ns=entry.kernel_time * TICK_NS, priority=entry.priority,
            block=_block(thread), start_address=_start(thread),
        )  # fmt: skip


def _context(thread: int, form: ContextForm) -> bytes:
    return threads.context(thread, form.size, form.flags_at, form.everything)


def _block(thread: int) -> int | None:
    try:
        return threads.basic(thread).TebBaseAddress or None
    except OSError:
        return None


def _start(thread: int) -> int | None:
    try:
        return threads.start_address(thread) or None
    except OSError:
        return None
