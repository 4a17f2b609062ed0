"""Signals to exactly one process.

macOS has no handle of a process that survives its end. What comes closest is the audit token: it has the process's
version, which counts up with every fork and exec, and the kernel compares it while it sends
(proc_signal_with_audittoken, macOS 12). Where that cannot be had, the start is compared just before kill(2): between
the two a process could end and its pid be given away again. macOS gives pids in ascending order and round at 99,999, so
that takes some 99,000 new processes within microseconds; it is not impossible.
"""

import os
import signal

from hostscope.errors import Denied, Error, Gone, NativeError, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.native import errnos, kern_proc, kqueue, mach
from hostscope.platforms.macos.native.mach import KernFailure
from hostscope.platforms.macos.process_list import read_one
from hostscope.platforms.macos.tasks import check
from hostscope.platforms.macos.translate import REFUSED

HINT = "needs root or the process's own user; System Integrity Protection refuses some processes to root too"


def send(boot: Boot, key: ProcessKey, number: int) -> None:
    """Sends a signal to the very process that a key means.

    Raises:
        Gone, Denied, Mismatch
    """
    require_one(key.pid)
    token = _token(key.pid)
    check(boot, key)  # so the token, if there is one, is this process's: it was taken before
    if token is not None:
        try:
            code = mach.signal(token, number)
        except Unsupported:
            token = None
        else:
            _answered(key.pid, code)
    if token is None:
        kill(boot, key, number)


def kill(boot: Boot, key: ProcessKey, number: int) -> None:
    """The second best way: compares the start, and sends by the pid at once.

    Raises:
        Gone, Denied, Mismatch
    """
    require_one(key.pid)
    check(boot, key)
    try:
        os.kill(key.pid, number)
    except OSError as failed:
        raise _translated(key.pid, failed.errno or 0) from None


def require_one(pid: int) -> None:
    """To kill(2) numbers below 1 are whole groups, our own among them, or everybody; the kernel's process has pid 0.

    Raises:
        Denied
    """
    if pid < 1:
        raise Denied(f"process {pid} is the kernel: it takes no signals", "no privilege helps")


def _token(pid: int) -> mach.audit_token_t | None:
    """None where the kernel does not give it: then the second best way says why."""
    try:
        return mach.token_of(pid)
    except KernFailure:
        return None


def _answered(pid: int, code: int) -> None:
    if code:
        raise _translated(pid, code)


def _translated(pid: int, code: int) -> Error:
    if code == errnos.ESRCH:
        return Gone(f"process {pid}: there is no such process")
    if code in REFUSED:
        return Denied(f"process {pid}: permission denied", HINT)
    return NativeError("kill", code, errnos.text(code))


def may_signal(pid: int) -> bool:
    """Whether we may signal it, by signal 0, which does nothing else.

    Raises:
        Gone
    """
    if pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except OSError as failed:
        if failed.errno in REFUSED:
            return False
        raise _translated(pid, failed.errno or 0) from None
    return True


def has_ended(boot: Boot, key: ProcessKey) -> bool:
    """Whether it is a zombie: it has ended, and its parent has not asked for its exit code.

    Raises:
        Gone, Mismatch
    """
    check(boot, key)
    return read_one(key.pid).status == kern_proc.SZOMB


def wait(boot: Boot, key: ProcessKey, timeout_s: float) -> bool:
    """Whether the process has ended, at the latest when the time is up. Source: kqueue NOTE_EXIT."""
    queue = kqueue.open_queue()
    try:
        if key.pid in kqueue.watch(queue, (key.pid,), kqueue.NOTE_EXIT):
            return True
        try:
            if has_ended(boot, key):  # it was watched before it was looked at, so nothing is missed
                return True
        except Error:
            return True
        return any(notes & kqueue.NOTE_EXIT for _, notes, _ in kqueue.wait(queue, timeout_s))
    finally:
        os.close(queue)


TERMINATE, KILL = signal.SIGTERM, getattr(signal, "SIGKILL", 9)
STOP, CONTINUE = 17, 19
"""SIGSTOP and SIGCONT by Darwin's numbers, which are not Linux's."""
