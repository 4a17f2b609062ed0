"""Waiting for what happens to processes. Source: sys/event.h (kqueue(2))."""

import ctypes
from collections.abc import Iterable
from ctypes import c_int16, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_void_p

from hostscope.platforms.macos.native.library import LIBSYSTEM, Library, failed

EVFILT_PROC = -5
EV_ADD, EV_DELETE, EV_ENABLE, EV_CLEAR, EV_RECEIPT = 0x1, 0x2, 0x4, 0x20, 0x40
EV_EOF, EV_ERROR = 0x8000, 0x4000
NOTE_EXIT, NOTE_FORK, NOTE_EXEC, NOTE_EXITSTATUS = 0x80000000, 0x40000000, 0x20000000, 0x04000000
NOTE_PDATAMASK = 0x000FFFFF
_AT_ONCE = 64
"""Events that one call takes."""


class kevent(ctypes.Structure):
    """What is watched, or what happened. Packed, as in the header."""

    _pack_ = 4
    _layout_ = "ms"
    _fields_ = (
        ("ident", c_uint64),
        ("filter", c_int16),
        ("flags", c_uint16),
        ("fflags", c_uint32),
        ("data", c_int64),
        ("udata", c_uint64),
    )


class timespec(ctypes.Structure):
    """A time to wait."""

    _fields_ = (("tv_sec", c_int64), ("tv_nsec", c_int64))


SIGNATURES = {
    "kqueue": (c_int32, ()),
    "kevent": (c_int32, (c_int32, c_void_p, c_int32, c_void_p, c_int32, c_void_p)),
}
C_PATHS = {"kevent": "struct kevent"}
queues = Library(LIBSYSTEM, SIGNATURES)


def open_queue() -> int:
    """A queue, to be closed by os.close. Raises OSError."""
    fd: int = queues.kqueue()
    if fd < 0:
        raise failed("kqueue")
    return fd


def watch(queue: int, pids: Iterable[int], notes: int) -> dict[int, int]:
    """Adds processes; the errno of each that could not be (ESRCH: it is gone). Raises OSError."""
    refused: dict[int, int] = {}
    for pid in pids:
        change = kevent(pid, EVFILT_PROC, EV_ADD | EV_ENABLE | EV_CLEAR | EV_RECEIPT, notes, 0, 0)
        answer = kevent()
        if queues.kevent(queue, ctypes.byref(change), 1, ctypes.byref(answer), 1, None) < 0:
            raise failed("kevent")
        if answer.flags & EV_ERROR and answer.data:
            refused[pid] = int(answer.data)
    return refused


def wait(queue: int, timeout_s: float) -> list[tuple[int, int, int]]:
    """What happened until the time is up: pid, notes and data of each; empty when nothing did. Raises OSError."""
    found = (kevent * _AT_ONCE)()
    whole, part = divmod(max(0.0, timeout_s), 1)
    until = timespec(int(whole), int(part * 1e9))
    count = queues.kevent(queue, None, 0, found, _AT_ONCE, ctypes.byref(until))
    if count < 0:
        raise failed("kevent")
    return [(int(one.ident), int(one.fflags), int(one.data)) for one in found[:count]]
