"""The debugger interface (kernel32). All of it belongs to the thread that attached.

Unions are given by one member: the one that is used.
"""

from ctypes import Structure, Union, byref

from hostscope.platforms.windows.native.library import Library, failed, last_error
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    POINTER,
    PVOID,
    SIZE_T,
    ULONG_PTR,
    WORD,
)

EXCEPTION_DEBUG_EVENT = 1
CREATE_THREAD_DEBUG_EVENT = 2
CREATE_PROCESS_DEBUG_EVENT = 3
EXIT_THREAD_DEBUG_EVENT = 4
EXIT_PROCESS_DEBUG_EVENT = 5
LOAD_DLL_DEBUG_EVENT = 6
UNLOAD_DLL_DEBUG_EVENT = 7
DBG_CONTINUE = 0x00010002
DBG_EXCEPTION_NOT_HANDLED = 0x80010001
EXCEPTION_BREAKPOINT = 0x80000003
EXCEPTION_SINGLE_STEP = 0x80000004
EXCEPTION_MAXIMUM_PARAMETERS = 15
ERROR_SEM_TIMEOUT = 121
DUPLICATE_SAME_ACCESS = 0x00000002


class EXCEPTION_RECORD(Structure):
    _fields_ = (
        ("ExceptionCode", DWORD),
        ("ExceptionFlags", DWORD),
        ("ExceptionRecord", PVOID),
        ("ExceptionAddress", PVOID),
        ("NumberParameters", DWORD),
        ("ExceptionInformation", ULONG_PTR * EXCEPTION_MAXIMUM_PARAMETERS),
    )


class EXCEPTION_DEBUG_INFO(Structure):
    _fields_ = (("ExceptionRecord", EXCEPTION_RECORD), ("dwFirstChance", DWORD))


class CREATE_THREAD_DEBUG_INFO(Structure):
    _fields_ = (("hThread", HANDLE), ("lpThreadLocalBase", PVOID), ("lpStartAddress", PVOID))


class CREATE_PROCESS_DEBUG_INFO(Structure):
    _fields_ = (
        ("hFile", HANDLE),
        ("hProcess", HANDLE),
        ("hThread", HANDLE),
        ("lpBaseOfImage", PVOID),
        ("dwDebugInfoFileOffset", DWORD),
        ("nDebugInfoSize", DWORD),
        ("lpThreadLocalBase", PVOID),
        ("lpStartAddress", PVOID),
        ("lpImageName", PVOID),
        ("fUnicode", WORD),
    )


class EXIT_PROCESS_DEBUG_INFO(Structure):
    _fields_ = (("dwExitCode", DWORD),)


class LOAD_DLL_DEBUG_INFO(Structure):
    _fields_ = (
        ("hFile", HANDLE),
        ("lpBaseOfDll", PVOID),
        ("dwDebugInfoFileOffset", DWORD),
        ("nDebugInfoSize", DWORD),
        ("lpImageName", PVOID),
        ("fUnicode", WORD),
    )


class UNLOAD_DLL_DEBUG_INFO(Structure):
    _fields_ = (("lpBaseOfDll", PVOID),)


class _Of(Union):
    _fields_ = (
        ("Exception", EXCEPTION_DEBUG_INFO),
        ("CreateThread", CREATE_THREAD_DEBUG_INFO),
        ("CreateProcessInfo", CREATE_PROCESS_DEBUG_INFO),
        ("ExitProcess", EXIT_PROCESS_DEBUG_INFO),
        ("LoadDll", LOAD_DLL_DEBUG_INFO),
        ("UnloadDll", UNLOAD_DLL_DEBUG_INFO),
    )


class DEBUG_EVENT(Structure):
    _fields_ = (("dwDebugEventCode", DWORD), ("dwProcessId", DWORD), ("dwThreadId", DWORD), ("u", _Of))


SIGNATURES = {
    "DebugActiveProcess": (BOOL, (DWORD,)),
    "DebugActiveProcessStop": (BOOL, (DWORD,)),
    "DebugSetProcessKillOnExit": (BOOL, (BOOL,)),
    "WaitForDebugEvent": (BOOL, (POINTER(DEBUG_EVENT), DWORD)),
    "ContinueDebugEvent": (BOOL, (DWORD, DWORD, DWORD)),
    "FlushInstructionCache": (BOOL, (HANDLE, PVOID, SIZE_T)),
    "DuplicateHandle": (BOOL, (HANDLE, HANDLE, HANDLE, POINTER(HANDLE), DWORD, BOOL, DWORD)),
    "GetCurrentProcess": (HANDLE, ()),
    "GetProcessId": (DWORD, (HANDLE,)),
    "CloseHandle": (BOOL, (HANDLE,)),
}
kernel32 = Library("kernel32", SIGNATURES)


def attach(pid: int) -> None:
    """Begins to debug; the process lives on when we end, however that is. Raises OSError."""
    if not kernel32.DebugActiveProcess(pid):
        raise failed("DebugActiveProcess")
    kernel32.DebugSetProcessKillOnExit(False)


def detach(pid: int) -> None:
    """Ends debugging. Raises OSError."""
    if not kernel32.DebugActiveProcessStop(pid):
        raise failed("DebugActiveProcessStop")


def next_event(timeout_ms: int) -> DEBUG_EVENT | None:
    """The next event, its process standing still until it is continued; None when none came in time.

    Raises:
        OSError
    """
    found = DEBUG_EVENT()
    if kernel32.WaitForDebugEvent(byref(found), timeout_ms):
        return found
    if last_error() in (ERROR_SEM_TIMEOUT, 0):
        return None
    raise failed("WaitForDebugEvent")


def go_on(event: DEBUG_EVENT, handled: bool) -> None:
    """Lets the process of an event run on."""
    kernel32.ContinueDebugEvent(
        event.dwProcessId, event.dwThreadId, DBG_CONTINUE if handled else DBG_EXCEPTION_NOT_HANDLED
    )


def process_of(owner: int, handle: int) -> int | None:
    """The pid of the process that a handle of another process means; None when it means none."""
    ours = HANDLE()
    if not kernel32.DuplicateHandle(
        owner, handle, kernel32.GetCurrentProcess(), byref(ours), 0, False, DUPLICATE_SAME_ACCESS
    ):
        return None
    try:
        return kernel32.GetProcessId(ours) or None
    finally:
        kernel32.CloseHandle(ours)
