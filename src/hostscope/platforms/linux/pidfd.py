"""Process handles: a pidfd means one process for good, whatever becomes of its pid.

Opening one is by pid, so the pid may have changed hands before. That is settled after opening, not before: whatever
/proc/PID shows while the pidfd's process still owns that pid is about that process. It owns it until its parent has
waited for it, which ``pidfd_send_signal(fd, 0)`` tells (ESRCH from then on). What is sent afterwards goes to the
process that the handle means, or to nobody.

Since Linux 6.9 pidfds live in a file system of their own, whose inode numbers are never given twice in one boot: the
serial of a key. Before that all pidfds share one inode. Two processes of one pid may then share even the start tick
(172 of 200 did, when provoked), so a key is only taken for good once its tick is over: nobody else can get it then.
"""

import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from msgspec.structs import replace

from hostscope.errors import Denied, Error, Gone, Mismatch, NativeError, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.platforms.linux.clock import TICK_NS, Boot, ticks_now
from hostscope.platforms.linux.parse import parse_namespace, parse_stat
from hostscope.platforms.linux.read import read_file
from hostscope.platforms.linux.translate import REFUSED

SIGNAL_HINT = "needs root (CAP_KILL) or the process's own user"
_NO_PROCESS = frozenset({errno.ESRCH, errno.EINVAL, errno.ENOENT})
"""EINVAL, since Linux 6.9 ENOENT: the number is a thread's, not a process's."""


@contextmanager
def hold(boot: Boot, key: ProcessKey) -> Iterator[int]:
    """A pidfd of exactly the process that `key` means.

    Raises:
        Gone, Mismatch
        Unsupported: Linux before 5.3, or /proc shows the numbers of another PID namespace.

    Cost: seven system calls.
    """
    _check_place(boot, key)
    fd = _open(key.pid)
    try:
        check(fd, boot, key)
        yield fd
    finally:
        os.close(fd)


def check(fd: int, boot: Boot, key: ProcessKey) -> None:
    """Compares a handle's process with a key.

    Raises:
        Gone: it ended and was waited for. Mismatch: it is another one.
    """
    found = replace(boot.key(key.pid, _read_start(key.pid)), serial=serial(fd))
    alive(fd, key.pid)
    if not found.same(key):
        raise Mismatch(f"process {key.pid} is not the one that was meant: it is {found}, not {key}")


def pinned(fd: int, boot: Boot, key: ProcessKey) -> ProcessKey:
    """The key with its serial; without serials, the key once its tick is over and its process still there.

    Raises:
        Gone, Mismatch
    """
    number = serial(fd)
    if number is None and ticks_now() <= key.start:
        time.sleep((key.start + 1 - ticks_now()) * TICK_NS / 1e9)
        check(fd, boot, key)
    return replace(key, serial=number)


def refuse_newborn(key: ProcessKey) -> None:
    """A key without a serial may mean two processes until its tick is over.

    Raises:
        Mismatch
    """
    if key.serial is None and ticks_now() <= key.start:
        raise Mismatch(f"process {key} is younger than a clock tick: its key may mean another one", "try again")


def serial(fd: int) -> int | None:
    """The process's number in pidfs; None before Linux 6.9."""
    found = os.fstat(fd)
    return found.st_ino if found.st_dev != _anonymous_device() else None


def alive(fd: int, pid: int) -> None:
    """Returns while the handle's process owns its pid, ended or not.

    Raises:
        Gone: its parent has waited for it.
    """
    try:
        signal.pidfd_send_signal(fd, 0)  # type: ignore[arg-type, unused-ignore]
    except OSError as failed:
        if failed.errno not in REFUSED:
            raise translated(failed, pid) from failed


def has_ended(fd: int, timeout_s: float = 0) -> bool:
    """Whether all threads have ended, at the latest when the time is up. Source: poll(2) on a pidfd."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, timeout_s) * 1000))


def send(fd: int, pid: int, number: int) -> None:
    """Sends a signal through a handle.

    Raises:
        Gone, Denied
    """
    try:
        signal.pidfd_send_signal(fd, number)
    except OSError as failed:
        raise translated(failed, pid) from failed


def translated(failed: OSError, pid: int) -> Error:
    """Our error for one of these calls."""
    if failed.errno in _NO_PROCESS:
        return Gone(f"process {pid}: there is no such process")
    if failed.errno in REFUSED:
        return Denied(f"process {pid}: permission denied", SIGNAL_HINT)
    if failed.errno == errno.ENOSYS:
        return Unsupported("this kernel has no process handles", "Linux 5.3 or later is needed")
    return NativeError("pidfd_send_signal", failed.errno or 0, failed.strerror or str(failed))


def _open(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as failed:
        raise translated(failed, pid) from failed


def _read_start(pid: int) -> int:
    try:
        return parse_stat(read_file(f"/proc/{pid}/stat")).start
    except OSError as failed:
        raise translated(failed, pid) from failed


def _check_place(boot: Boot, key: ProcessKey) -> None:
    """pidfd_open takes numbers of our PID namespace; /proc may have been mounted in another."""
    if boot.pid_ns != _own_namespace():  # first: with fewer privileges than who made the key, its number is not told
        raise Unsupported(
            "/proc shows the process numbers of another PID namespace",
            "mount our own: mount -t proc proc /proc, or enter the other one with nsenter --pid --mount",
        )
    if (key.boot_id, key.pid_ns) != (boot.boot_id, boot.pid_ns):
        raise Mismatch(f"process {key} was seen in another boot or PID namespace")


@cache
def _own_namespace() -> int:
    return parse_namespace(os.readlink("/proc/self/ns/pid"))


@cache
def _anonymous_device() -> int:
    """The device that pidfds were on before they got their own file system."""
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)
