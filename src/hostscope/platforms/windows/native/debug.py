"""The debugger interface (kernel32). All of it belongs to the thread that attached.

Unions are given by one member: the one that is used.
"""

from ctypes import Structure, Union, byref, sizeof

from hostscope.platforms.windows.native.library import Library, failed, failed_status, last_error
from hostscope.platforms.windows.native.ntdll import query_process
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    NTSTATUS,
    POINTER,
    PVOID,
    SIZE_T,
    ULONG,
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
STATUS_WX86_SINGLE_STEP = 0x4000001E
STATUS_WX86_BREAKPOINT = 0x4000001F
EXCEPTION_MAXIMUM_PARAMETERS = 15
ERROR_SEM_TIMEOUT = 121
ProcessDebugFlags = 31
PROCESS_DEBUG_INHERIT = 1


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
    "NtSetInformationProcess": (NTSTATUS, (HANDLE, INT, PVOID, ULONG)),
}
kernel32 = Library("kernel32", SIGNATURES)
ntdll = Library("ntdll", SIGNATURES)

NOT_IN_HEADERS = {
    "PROCESS_DEBUG_INHERIT": "phnt (ntpsapi.h) of System Informer; what .childdbg of WinDbg sets",
}


def attach(pid: int) -> None:
    """Begins to debug; the process lives on when we end, however that is. Raises OSError."""
    if not kernel32.DebugActiveProcess(pid):
        raise failed("DebugActiveProcess")
    kernel32.DebugSetProcessKillOnExit(False)


def detach(pid: int) -> None:
    """Ends debugging. Raises OSError."""
    if not kernel32.DebugActiveProcessStop(pid):
        raise failed("DebugActiveProcessStop")


def inherits(process: int) -> bool:
    """Whether what the process starts is debugged by its debugger. Raises OSError."""
    flags = ULONG()
    query_process(process, ProcessDebugFlags, flags)
    return bool(flags.value & PROCESS_DEBUG_INHERIT)


def set_inherits(process: int, children: bool) -> None:
    """Says whether what the process starts from now on is debugged by its debugger. Raises OSError."""
    flags = ULONG(PROCESS_DEBUG_INHERIT if children else 0)
    status = ntdll.NtSetInformationProcess(process, ProcessDebugFlags, byref(flags), sizeof(flags))
    if status < 0:
        raise failed_status("NtSetInformationProcess", status)


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
