"""Names that programs give their threads (kernel32, Windows 10)."""

from ctypes import byref, string_at

from hostscope.model.text import decode_utf16
from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.types import HANDLE, HRESULT, POINTER, PVOID

_MOST_BYTES = 1 << 16

SIGNATURES = {
    "GetThreadDescription": (HRESULT, (HANDLE, POINTER(PVOID))),
    "LocalFree": (PVOID, (PVOID,)),
}
kernel32 = Library("kernel32", SIGNATURES)


def thread_name(thread: int) -> str:
    """The name; empty where it was given none. `thread` may be a handle that is only good for looking.

    Raises:
        OSError, Unsupported: before Windows 10 1607.
    """
    found = PVOID()
    result = kernel32.GetThreadDescription(thread, byref(found))
    if result < 0:
        raise SystemRefused("GetThreadDescription", result & 0xFFFFFFFF)
    if not found.value:
        return ""
    try:
        return decode_utf16(_text(found.value))
    finally:
        kernel32.LocalFree(found.value)


def _text(address: int) -> bytes:
    """Up to the NUL, read two bytes at a time: more might not be ours."""
    size = 0
    while size < _MOST_BYTES and string_at(address + size, 2) != b"\0\0":
        size += 2
    return string_at(address, size)
