"""process_vm_readv(2): another process's memory straight into ours, in one copy."""

import ctypes
import os

MOST_RANGES = 1024
"""UIO_MAXIOV."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Range(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc.process_vm_readv.argtypes = [
    ctypes.c_int, ctypes.POINTER(_Range), ctypes.c_ulong, ctypes.POINTER(_Range), ctypes.c_ulong, ctypes.c_ulong,
]  # fmt: skip
_libc.process_vm_readv.restype = ctypes.c_ssize_t


def process_vm_readv(task: int, address: int, into: memoryview) -> int:
    """Reads up to ``len(into)`` bytes; how many came before the first page that cannot be read. Linux 3.2.

    Two threads read 15 GiB/s where /proc/PID/mem gives 8.6: that one copies each page twice. But it takes a pid, checks
    access at every call, and reads whatever program the pid runs by now: the caller has to look again afterwards.

    Raises:
        OSError: EFAULT when the first page cannot be read, ESRCH, EPERM.
    """
    ours = _Range(ctypes.addressof(ctypes.c_char.from_buffer(into)), len(into))
    theirs = _Range(address, len(into))
    count: int = _libc.process_vm_readv(task, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    if count < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return count
