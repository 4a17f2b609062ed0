"""The Mach clock, and names of terminals. Source: mach/mach_time.h, stdlib.h."""

import ctypes
from ctypes import c_char_p, c_int32, c_uint16, c_uint32, c_void_p

from hostscope.platforms.macos.native.library import LIBSYSTEM, Library

_CHARACTER_DEVICE = 0o020000


class mach_timebase_info(ctypes.Structure):
    """Nanoseconds in a unit of the clock: 1/1 on Intel, 125/3 on Apple silicon."""

    _fields_ = (("numer", c_uint32), ("denom", c_uint32))


SIGNATURES = {
    "mach_timebase_info": (c_int32, (c_void_p,)),
    "devname": (c_char_p, (c_int32, c_uint16)),
}
C_PATHS = {"mach_timebase_info": "struct mach_timebase_info"}
machine = Library(LIBSYSTEM, SIGNATURES)


def timebase() -> tuple[int, int]:
    """Numerator and denominator that turn units of the Mach clock into nanoseconds."""
    info = mach_timebase_info()
    machine.mach_timebase_info(ctypes.byref(info))
    return (info.numer, info.denom) if info.numer and info.denom else (1, 1)


def terminal(device: int) -> bytes | None:
    """Name of a terminal without ``/dev/``; None when no device has the number."""
    name: bytes | None = machine.devname(c_int32(device).value, _CHARACTER_DEVICE)
    return None if name is None or name == b"??" else name
