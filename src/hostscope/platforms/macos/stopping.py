"""Processes that stand still: suspended tasks, the registers of their threads, and copies of whole processes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic_ns

from msgspec.structs import replace

from hostscope.errors import Unsupported
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.text import decode
from hostscope.platforms.base_control import Snapshot
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.macos import tasks
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.memory import Memory
from hostscope.platforms.macos.native import mach
from hostscope.platforms.macos.native.mach import KernFailure
from hostscope.platforms.macos.raised import raised
from hostscope.platforms.macos.system import architecture

STATES = {1: "running", 2: "stopped", 3: "sleeping", 4: "disk-sleep", 5: "stopped"}
"""TH_STATE_*: waiting is 3, uninterruptible 4, halted 5."""


@contextmanager
def freeze(boot: Boot, key: ProcessKey, privileges: Privileges | None = None) -> Iterator[tuple[ThreadState, ...]]:
    """Every thread stands still for the block, with its registers; a thread in the kernel stops when it leaves it.

    The suspension is a right that we hold (task_suspend2): when we are killed meanwhile the kernel takes it back, and
    the process runs on.

    Raises:
        Gone, Denied, Mismatch
    """
    with _opened(boot, key, privileges, to_read=False) as task:
        asked = monotonic_ns()
        try:
            token = mach.suspend(task)
        except KernFailure as failed:
            raise tasks.translated(failed, key.pid) from None
        try:
            yield threads_of(task, key.pid, asked)
        finally:
            mach.resume(token)


def registers(boot: Boot, key: ProcessKey, privileges: Privileges | None = None) -> tuple[ThreadState, ...]:
    """The registers of every thread, all of one moment: the task is suspended for as long as it takes.

    Raises:
        Gone, Denied, Mismatch
    """
    began = monotonic_ns()
    with freeze(boot, key, privileges) as found:
        pass
    stopped = monotonic_ns() - began
    return tuple(_stopped(thread, stopped) for thread in found)


def _stopped(thread: ThreadState, stopped_ns: int) -> ThreadState:
    return replace(thread, stopped_ns=stopped_ns, asked_mono_ns=0)


@contextmanager
def snapshot(boot: Boot, memory: Memory, key: ProcessKey, privileges: Privileges | None = None) -> Iterator[Snapshot]:
    """A copy of the process as it is now (a corpse, as crash reports are made of): pages are shared until written.

    Source: task_generate_corpse (macOS 10.12).

    Raises:
        Gone, Denied, Mismatch
        Unsupported: the kernel makes none (their number is limited, and it may refuse).
    """
    with _opened(boot, key, privileges, to_read=True) as task:
        try:
            copy = mach.corpse(task)
        except KernFailure as failed:
            if failed.code in tasks.VANISHED:
                raise tasks.translated(failed, key.pid) from None
            raise Unsupported(
                f"process {key.pid}: the kernel makes no copy of it (kern_return {failed.code})", "freeze it instead"
            ) from None
        try:
            threads = threads_of(copy, key.pid, 0)
            yield Snapshot(threads, memory.regions_of(key, copy), memory.of_task(key, copy))
        finally:
            mach.release(copy)


@contextmanager
def _opened(boot: Boot, key: ProcessKey, privileges: Privileges | None, to_read: bool) -> Iterator[int]:
    """A right to the task; root is in effect only until it is there."""
    with ExitStack() as closing:
        with raised(privileges, f"stop or copy process {key.pid}"):
            task = closing.enter_context(tasks.opened(boot, key, to_read))
        yield task


def threads_of(task: int, pid: int, asked_ns: int) -> tuple[ThreadState, ...]:
    """Every thread of a task with its registers.

    Raises:
        Gone, NativeError
    """
    processor = architecture()  # a translated process shows the registers of its translation
    try:
        ports = mach.threads(task)
    except KernFailure as failed:
        raise tasks.translated(failed, pid) from None
    try:
        return tuple(_thread(port, processor, asked_ns) for port in ports)
    finally:
        for port in ports:
            mach.release(port)


def _thread(port: int, processor: str, asked_ns: int) -> ThreadState:
    try:
        tid, details = mach.thread_id(port), mach.thread_details(port)
        _, state = mach.registers(port, processor)
    except KernFailure as failed:
        return ThreadState(0, "", b"", asked_mono_ns=asked_ns, unread=f"it ended meanwhile ({failed})")
    return ThreadState(
        tid=tid,
        name=decode(details.pth_name),
        registers=state,
        asked_mono_ns=asked_ns,
        state=STATES.get(details.pth_run_state, ""),
        user_ns=int(details.pth_user_time),
        system_ns=int(details.pth_system_time),
    )
