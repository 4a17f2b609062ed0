"""Rights to other processes' tasks, and why there is none: Mach says KERN_FAILURE whatever the reason is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hostscope.errors import Denied, Error, Gone, Mismatch, NativeError, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.native import csops, mach, sip
from hostscope.platforms.macos.native.mach import KernFailure
from hostscope.platforms.macos.process_list import read_key

SIGN_HINT = (
    "sign the Python that runs hostscope with com.apple.security.cs.debugger (docs/macos.md), and run it as root"
)
SIP_HINT = "no privilege helps while System Integrity Protection is on; csrutil status tells"
VANISHED = frozenset({mach.MACH_SEND_INVALID_DEST, mach.KERN_TERMINATED})
"""What calls answer about a task that has ended."""


@contextmanager
def opened(boot: Boot, key: ProcessKey, to_read: bool) -> Iterator[int]:
    """A right to the task of this very process, for as long as the block runs.

    A right stays with its task: when the process ends, or runs another program, calls fail with it. Between the pid and
    the right somebody else may get the pid, so the start is compared before and after.

    Args:
        to_read: only look; macOS before 11.3 has rights to everything only.

    Raises:
        Gone, Denied, Mismatch
    """
    check(boot, key)
    try:
        port = _port(key.pid, to_read)
    except Denied:
        check(boot, key)  # the kernel says the same of a process that is gone
        raise
    try:
        check(boot, key)
        if _pid_of(port) != key.pid:
            raise Gone(f"process {key.pid} ended while it was being opened")
        yield port
    finally:
        mach.release(port)


def check(boot: Boot, key: ProcessKey) -> None:
    """Compares the process that has the pid now with the one that is meant.

    Raises:
        Gone, Mismatch
    """
    found = read_key(boot, key.pid)
    if not found.same(key):
        raise Mismatch(f"process {key.pid} is not the one that was meant: it is {found}, not {key}")


def _port(pid: int, to_read: bool) -> int:
    for reading in (True, False) if to_read else (False,):
        try:
            return mach.task_port(pid, reading)
        except Unsupported:
            continue  # then the right to everything is the only one there is
        except KernFailure:
            raise refused(pid) from None
    raise refused(pid)


def _pid_of(port: int) -> int:
    try:
        return mach.pid_of(port)
    except KernFailure:
        return -1


def refused(pid: int) -> Denied:
    """Why there is no right to a task, as far as the kernel lets it be known."""
    flags = _signature(pid)
    if pid == 0:
        return Denied("process 0 is the kernel: nobody gets its task", "no privilege helps")
    if _protects() and flags is not None and flags & (csops.CS_RESTRICT | csops.CS_PLATFORM_BINARY):
        what = "restricted" if flags & csops.CS_RESTRICT else "a part of the system (platform binary)"
        return Denied(f"process {pid}: System Integrity Protection keeps its memory closed: it is {what}", SIP_HINT)
    if os.geteuid() != 0:
        return Denied(f"process {pid}: its memory may not be read", f"needs root; {SIGN_HINT}")
    if flags is not None and flags & csops.CS_RUNTIME and not flags & csops.CS_GET_TASK_ALLOW:
        return Denied(f"process {pid}: it has the hardened runtime, without get-task-allow", SIGN_HINT)
    return Denied(f"process {pid}: the kernel gives no right to its memory", SIGN_HINT)


def _signature(pid: int) -> int | None:
    try:
        return csops.Signatures().status(pid)
    except OSError:
        return None


def _protects() -> bool:
    """Whether System Integrity Protection keeps tasks closed; taken for on where that cannot be read."""
    try:
        return not sip.active_config() & sip.CSR_ALLOW_TASK_FOR_PID
    except OSError:
        return True


def translated(failed: KernFailure, pid: int) -> Error:
    """Our error for one of Mach's, about a task that we have a right to."""
    if failed.code in VANISHED:
        return Gone(f"process {pid} ended, or runs another program now")
    return NativeError(failed.call, failed.code, f"kern_return {failed.code}")
