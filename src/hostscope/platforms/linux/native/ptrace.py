"""ptrace(2), the part that stops threads and reads their registers. Every call is for the thread that attached."""

import ctypes
import os

PTRACE_CONT, PTRACE_DETACH = 7, 17
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_GETREGSET, PTRACE_GETSIGINFO = 0x4206, 0x4207, 0x4204, 0x4202
"""include/uapi/linux/ptrace.h; SEIZE and INTERRUPT from Linux 3.4."""
PTRACE_EVENT_STOP = 128
WAIT_ALL = 0x4000_0000
"""__WALL: threads, too."""
SIGINFO_BYTES = 128

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class _Buffer(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def seize(tid: int) -> None:
    """Attaches without stopping. Raises OSError: EPERM, ESRCH."""
    _call(PTRACE_SEIZE, tid, None, None)


def interrupt(tid: int) -> None:
    """Asks the thread to stop; waitpid tells when it has. Raises OSError."""
    _call(PTRACE_INTERRUPT, tid, None, None)


def detach(tid: int, signal: int) -> None:
    """Lets a stopped thread go on, with the signal that it stopped on its way to. Raises OSError."""
    _call(PTRACE_DETACH, tid, None, signal)


def register_set(tid: int, kind: int, most_bytes: int) -> bytes:
    """Registers of a stopped thread by their note type; as many bytes as the kernel has. Raises OSError."""
    into = ctypes.create_string_buffer(most_bytes)
    buffer = _Buffer(ctypes.addressof(into), most_bytes)
    _call(PTRACE_GETREGSET, tid, kind, ctypes.addressof(buffer))
    return into.raw[: buffer.length]


def signal_info(tid: int) -> bytes:
    """siginfo_t of what stopped the thread. Raises OSError: EINVAL in a group-stop, which has none."""
    into = ctypes.create_string_buffer(SIGINFO_BYTES)
    _call(PTRACE_GETSIGINFO, tid, None, ctypes.addressof(into))
    return into.raw


def _call(request: int, tid: int, address: int | None, data: int | None) -> None:
    if _libc.ptrace(request, tid, address, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


# Tracing system calls -------------------------------------------------------------------------------------------------

PTRACE_SYSCALL, PTRACE_LISTEN, PTRACE_GETEVENTMSG, PTRACE_GET_SYSCALL_INFO = 24, 0x4208, 0x4201, 0x420E
"""LISTEN from Linux 3.4, GET_SYSCALL_INFO from 5.3."""
TRACE_CALLS, TRACE_FORK, TRACE_VFORK, TRACE_CLONE, TRACE_EXEC = 1, 2, 4, 8, 16
"""PTRACE_O_*; TRACESYSGOOD is the first: stops at calls differ from SIGTRAP."""
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC = 1, 2, 3, 4
WAIT_OUR_THREAD = 0x2000_0000
"""__WNOTHREAD: children and tracees of the calling thread only."""
INFO_BYTES = 88
"""struct ptrace_syscall_info."""


def seize_with(tid: int, options: int) -> None:
    """Attaches without stopping, with options. Raises OSError: EPERM, ESRCH."""
    _call(PTRACE_SEIZE, tid, None, options)


def go_on(tid: int, signal: int) -> None:
    """Lets a stopped thread run to its next call, with the signal that it stopped on its way to. Raises OSError."""
    if _libc.ptrace(PTRACE_SYSCALL, tid, None, signal) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def listen(tid: int) -> None:
    """Leaves a thread in its group-stop, and hears when that ends. Raises OSError."""
    _call(PTRACE_LISTEN, tid, None, None)


def event_message(tid: int) -> int:
    """What an event-stop is about: the new thread of a fork or clone. Raises OSError."""
    into = ctypes.c_ulong()
    _call(PTRACE_GETEVENTMSG, tid, None, ctypes.addressof(into))
    return into.value


class CallInfo:
    """Reads what the kernel knows of the call at which a thread is stopped, always into the same memory."""

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(INFO_BYTES)
        self._address = ctypes.c_void_p(ctypes.addressof(self._buffer))
        self._size = ctypes.c_void_p(INFO_BYTES)
        self._view = memoryview(self._buffer).cast("B")

    def read(self, tid: int) -> memoryview:
        """struct ptrace_syscall_info, valid until the next reading. Raises OSError."""
        if _libc.ptrace(PTRACE_GET_SYSCALL_INFO, tid, self._size, self._address) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return self._view
