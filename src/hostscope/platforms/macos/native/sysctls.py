"""Values of the kernel by name or number. Source: sys/sysctl.h (sysctl(3))."""

import ctypes
from collections.abc import Callable, Sequence
from ctypes import c_char_p, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Any

from hostscope.platforms.macos.native.library import LIBSYSTEM, Library, clear_errno, failed

ENOMEM = 12
_MOST_BYTES = 1 << 28
_TRIES = 8


class loadavg(ctypes.Structure):
    """Load averages, times `fscale`."""

    _fields_ = (("ldavg", c_uint32 * 3), ("fscale", c_int64))


class xsw_usage(ctypes.Structure):
    """Swap files."""

    _fields_ = (
        ("xsu_total", c_uint64),
        ("xsu_avail", c_uint64),
        ("xsu_used", c_uint64),
        ("xsu_pagesize", c_uint32),
        ("xsu_encrypted", c_int32),
    )


BOOLEANS = ("xsw_usage.xsu_encrypted",)
SIGNATURES = {
    "sysctl": (c_int32, (c_void_p, c_uint32, c_void_p, c_void_p, c_void_p, c_uint64)),
    "sysctlbyname": (c_int32, (c_char_p, c_void_p, c_void_p, c_void_p, c_uint64)),
}
values = Library(LIBSYSTEM, SIGNATURES)


def read_name(name: str) -> bytes:
    """A value, whatever its size. Raises OSError: ENOENT for a name that this system has not."""
    return _read(f"sysctl {name}", lambda into, size: values.sysctlbyname(name.encode(), into, size, None, 0))


def read_numbers(numbers: Sequence[int]) -> bytes:
    """The value at a path of numbers. Raises OSError."""
    mib = (c_int32 * len(numbers))(*numbers)
    told = ".".join(map(str, numbers))
    return _read(f"sysctl {told}", lambda into, size: values.sysctl(mib, len(numbers), into, size, None, 0))


def _read(call: str, ask: Callable[[Any, Any], int]) -> bytes:
    """Asks for the size, then for the value; again with more room while the value grows in between."""
    room = 0
    for _ in range(_TRIES):
        size = c_uint64()
        clear_errno()
        if ask(None, ctypes.byref(size)) != 0:
            raise failed(call)
        room = min(_MOST_BYTES, max(room * 2, size.value + size.value // 8 + 64))
        buffer = ctypes.create_string_buffer(room)
        size = c_uint64(room)
        if ask(buffer, ctypes.byref(size)) == 0:
            return buffer.raw[: min(size.value, room)]
        if ctypes.get_errno() != ENOMEM:
            raise failed(call)
    raise failed(call)
