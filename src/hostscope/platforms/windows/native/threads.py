"""Threads of other processes (kernel32, ntdll): suspended for a moment, and their registers read.

CONTEXT has another layout on each processor; it is bytes here, and `parse_context` knows what stands where.
"""

from ctypes import Array, Structure, addressof, c_char

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.ntdll import CLIENT_ID, query_thread
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    KAFFINITY,
    LONG,
    NTSTATUS,
    PVOID,
    ULONG,
)

THREAD_PRIORITY_LOWEST = -2

ThreadBasicInformation = 0
ThreadQuerySetWin32StartAddress = 9
ThreadSuspendCount = 35


class THREAD_BASIC_INFORMATION(Structure):
    _fields_ = (
        ("ExitStatus", NTSTATUS),
        ("TebBaseAddress", PVOID),
        ("ClientId", CLIENT_ID),
        ("AffinityMask", KAFFINITY),
        ("Priority", LONG),
        ("BasePriority", LONG),
    )


SIGNATURES = {
    "SuspendThread": (DWORD, (HANDLE,)),
    "ResumeThread": (DWORD, (HANDLE,)),
    "GetThreadContext": (BOOL, (HANDLE, PVOID)),
    "SetThreadContext": (BOOL, (HANDLE, PVOID)),
    "GetCurrentThread": (HANDLE, ()),
    "SetThreadPriority": (BOOL, (HANDLE, INT)),
}
kernel32 = Library("kernel32", SIGNATURES)

NOT_IN_HEADERS = {
    "THREAD_BASIC_INFORMATION": "phnt (ntpsapi.h) of System Informer; mingw has it in ntdef-less form only",
    "ThreadBasicInformation": "phnt (ntpsapi.h)",
    "ThreadQuerySetWin32StartAddress": "phnt (ntpsapi.h)",
    "ThreadSuspendCount": "phnt (ntpsapi.h), since Windows 8.1",
}

_ALIGNED = 16
_FAILED = 0xFFFFFFFF


def give_way() -> None:
    """The calling thread runs after others from now on."""
    kernel32.SetThreadPriority(kernel32.GetCurrentThread(), THREAD_PRIORITY_LOWEST)


def suspend(thread: int) -> int:
    """Adds one to the suspend count; what it was. Raises OSError."""
    before = kernel32.SuspendThread(thread)
    if before == _FAILED:
        raise failed("SuspendThread")
    return int(before)


def resume(thread: int) -> int:
    """Takes one from the suspend count; what it was. Raises OSError."""
    before = kernel32.ResumeThread(thread)
    if before == _FAILED:
        raise failed("ResumeThread")
    return int(before)


def context(thread: int, size: int, flags_at: int, flags: int) -> bytes:
    """CONTEXT of a thread that stands still: `flags` say which registers.

    Raises:
        OSError
    """
    room = _room(size)
    place = _aligned(room)
    _put_flags(room, place, flags_at, flags)
    if not kernel32.GetThreadContext(thread, place):
        raise failed("GetThreadContext")
    start = place - addressof(room)
    return bytes(room)[start : start + size]


def set_context(thread: int, content: bytes) -> None:
    """Gives a thread that stands still these registers. Raises OSError."""
    room = _room(len(content))
    place = _aligned(room)
    start = place - addressof(room)
    memoryview(room).cast("B")[start : start + len(content)] = content
    if not kernel32.SetThreadContext(thread, place):
        raise failed("SetThreadContext")


def basic(thread: int) -> THREAD_BASIC_INFORMATION:
    """Environment block, exit status and priorities. Raises OSError."""
    found = THREAD_BASIC_INFORMATION()
    query_thread(thread, ThreadBasicInformation, found)
    return found


def start_address(thread: int) -> int:
    """The function that a thread began with, as it was given to CreateThread. Raises OSError."""
    found = PVOID()
    query_thread(thread, ThreadQuerySetWin32StartAddress, found)
    return found.value or 0


def suspend_count(thread: int) -> int:
    """How often a thread was suspended and not resumed (Windows 8.1). Raises OSError."""
    found = ULONG()
    query_thread(thread, ThreadSuspendCount, found)
    return found.value


def _room(size: int) -> "Array[c_char]":
    return (c_char * (size + _ALIGNED))()


def _aligned(room: "Array[c_char]") -> int:
    return -(-addressof(room) // _ALIGNED) * _ALIGNED


def _put_flags(room: "Array[c_char]", place: int, at: int, flags: int) -> None:
    start = place - addressof(room) + at
    memoryview(room).cast("B")[start : start + 4] = flags.to_bytes(4, "little")
