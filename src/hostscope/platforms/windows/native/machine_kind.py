"""Whether a process runs 32-bit code on a 64-bit Windows (kernel32)."""

from ctypes import byref

from hostscope.platforms.windows.native.library import Library
from hostscope.platforms.windows.native.types import BOOL, HANDLE, POINTER

SIGNATURES = {"IsWow64Process": (BOOL, (HANDLE, POINTER(BOOL)))}
kernel32 = Library("kernel32", SIGNATURES)


def is_wow64(process: int) -> bool:
    """False, too, where it cannot be told."""
    found = BOOL()
    return bool(kernel32.IsWow64Process(process, byref(found)) and found.value)
