"""Objects of the kernel behind handles, of other processes too (ntdll, kernel32)."""

import ctypes
from ctypes import byref
from typing import Any

from hostscope.platforms.windows.native.handles import DUPLICATE_SAME_ACCESS, close
from hostscope.platforms.windows.native.handles import kernel32 as handles
from hostscope.platforms.windows.native.library import Library, failed, failed_status
from hostscope.platforms.windows.native.ntdll import (
    TOO_SMALL,
    ObjectNameInformation,
    ObjectTypeInformation,
    ObjectTypesInformation,
    ntdll,
)
from hostscope.platforms.windows.native.types import DWORD, HANDLE, ULONG
from hostscope.platforms.windows.parse import parse_own_string

SIGNATURES = {
    "GetProcessId": (DWORD, (HANDLE,)),
    "GetProcessIdOfThread": (DWORD, (HANDLE,)),
    "GetThreadId": (DWORD, (HANDLE,)),
}
kernel32 = Library("kernel32", SIGNATURES)

_TYPES_BYTES = 1 << 16
_MOST_TYPES_BYTES = 1 << 22
_NAME_BYTES = 1 << 16


def query_types() -> tuple[bytes, int]:
    """ObjectTypesInformation: the bytes, and the address that they had. Raises OSError."""
    size, needed = _TYPES_BYTES, ULONG()
    while True:
        buffer: Any = (ctypes.c_char * size)()
        status = ntdll.NtQueryObject(None, ObjectTypesInformation, buffer, size, byref(needed)) & 0xFFFFFFFF
        if not status:
            return buffer.raw, ctypes.addressof(buffer)
        if status not in TOO_SMALL or size >= _MOST_TYPES_BYTES:
            raise failed_status("NtQueryObject", status)
        size *= 4


def duplicate(process: int, handle: int) -> int:
    """The same object for ourselves; whoever gets it closes it.

    `process` is a handle with PROCESS_DUP_HANDLE. Raises OSError.
    """
    found = HANDLE()
    ours = handles.GetCurrentProcess()
    if not handles.DuplicateHandle(process, handle, ours, byref(found), 0, False, DUPLICATE_SAME_ACCESS):
        raise failed("DuplicateHandle")
    return found.value or 0


def object_type(handle: int) -> str:
    """The name of its type, such as ``File``; never waits. Raises OSError."""
    return _string(handle, ObjectTypeInformation)


def object_name(handle: int) -> str:
    """The name in the kernel's namespace; empty for an object without one.

    For a file that its owner opened for one call at a time (every pipe of a console program) this waits for the call
    that is under way, maybe for ever: ask from a thread that can be left behind.

    Raises:
        OSError, ValueError
    """
    return _string(handle, ObjectNameInformation)


def _string(handle: int, kind: int) -> str:
    """The string that an answer begins with; empty where there is none."""
    buffer: Any = (ctypes.c_char * _NAME_BYTES)()
    status = ntdll.NtQueryObject(handle, kind, buffer, _NAME_BYTES, byref(ULONG())) & 0xFFFFFFFF
    if status:
        raise failed_status("NtQueryObject", status)
    return parse_own_string(buffer.raw, ctypes.addressof(buffer))


def process_id(handle: int) -> int:
    """The process behind a handle. Raises OSError: the handle may not even ask that."""
    pid: int = kernel32.GetProcessId(handle)
    if not pid:
        raise failed("GetProcessId")
    return pid


def process_behind(owner: int, handle: int) -> int | None:
    """The pid of the process that a handle of another process means; None when it means none."""
    try:
        ours = duplicate(owner, handle)
    except OSError:
        return None
    try:
        return process_id(ours)
    except OSError:
        return None
    finally:
        close(ours)


def thread_id(handle: int) -> tuple[int, int]:
    """Thread and process behind a handle of a thread. Raises OSError."""
    tid = kernel32.GetThreadId(handle)
    if not tid:
        raise failed("GetThreadId")
    return tid, kernel32.GetProcessIdOfThread(handle)
