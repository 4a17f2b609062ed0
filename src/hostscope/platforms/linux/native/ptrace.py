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
