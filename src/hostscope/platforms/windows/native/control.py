"""What acts on processes (kernel32, ntdll): ending, suspending, waiting; and what identifies one through its handle."""

from ctypes import Structure, byref, create_unicode_buffer, sizeof

from hostscope.platforms.windows.native.library import Library, failed, failed_status
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    LPCWSTR,
    LPWSTR,
    NTSTATUS,
    POINTER,
    PVOID,
    SIZE_T,
    UINT,
    ULONG,
    ULONG64,
    WORD,
)

WAIT_OBJECT_0 = 0
WAIT_TIMEOUT = 258
INFINITE = 0xFFFFFFFF
CREATE_SUSPENDED = 0x00000004
PROCESS_SUSPEND_STATE = 0
PROCESS_RESUME_STATE = 1
PROCESS_STATE_CHANGE_ALL_ACCESS = 0x1F0001


class STARTUPINFOW(Structure):
    _fields_ = (
        ("cb", DWORD),
        ("lpReserved", LPWSTR),
        ("lpDesktop", LPWSTR),
        ("lpTitle", LPWSTR),
        ("dwX", DWORD),
        ("dwY", DWORD),
        ("dwXSize", DWORD),
        ("dwYSize", DWORD),
        ("dwXCountChars", DWORD),
        ("dwYCountChars", DWORD),
        ("dwFillAttribute", DWORD),
        ("dwFlags", DWORD),
        ("wShowWindow", WORD),
        ("cbReserved2", WORD),
        ("lpReserved2", PVOID),
        ("hStdInput", HANDLE),
        ("hStdOutput", HANDLE),
        ("hStdError", HANDLE),
    )


class PROCESS_INFORMATION(Structure):
    _fields_ = (("hProcess", HANDLE), ("hThread", HANDLE), ("dwProcessId", DWORD), ("dwThreadId", DWORD))


SIGNATURES = {
    "TerminateProcess": (BOOL, (HANDLE, UINT)),
    "WaitForSingleObject": (DWORD, (HANDLE, DWORD)),
    "GetExitCodeProcess": (BOOL, (HANDLE, POINTER(DWORD))),
    "CreateProcessW": (
        BOOL,
        (
            LPCWSTR,
            LPWSTR,
            PVOID,
            PVOID,
            BOOL,
            DWORD,
            PVOID,
            LPCWSTR,
            POINTER(STARTUPINFOW),
            POINTER(PROCESS_INFORMATION),
        ),
    ),
    "NtSuspendProcess": (NTSTATUS, (HANDLE,)),
    "NtResumeProcess": (NTSTATUS, (HANDLE,)),
    "NtCreateProcessStateChange": (NTSTATUS, (POINTER(HANDLE), DWORD, PVOID, HANDLE, ULONG64)),
    "NtChangeProcessState": (NTSTATUS, (HANDLE, HANDLE, ULONG, PVOID, SIZE_T, ULONG64)),
}
kernel32 = Library("kernel32", SIGNATURES)
ntdll = Library("ntdll", SIGNATURES)

NOT_IN_HEADERS = {
    "NtSuspendProcess": "exported since Windows XP; phnt (ntpsapi.h) of System Informer",
    "NtResumeProcess": "as NtSuspendProcess",
    "NtCreateProcessStateChange": "Windows 11 and Server 2022; phnt (ntpsapi.h)",
    "NtChangeProcessState": "as NtCreateProcessStateChange",
    "PROCESS_SUSPEND_STATE": "ProcessStateChangeSuspend of PROCESS_STATE_CHANGE_TYPE, phnt (ntpsapi.h)",
    "PROCESS_RESUME_STATE": "ProcessStateChangeResume, the same",
    "PROCESS_STATE_CHANGE_ALL_ACCESS": "phnt (ntpsapi.h)",
}


def has_ended(process: int, timeout_s: float = 0) -> bool:
    """Whether the process of a handle has ended, at the latest when the time is up.

    Raises:
        OSError
    """
    came = kernel32.WaitForSingleObject(process, min(round(max(0.0, timeout_s) * 1000), INFINITE - 1))
    if came not in (WAIT_OBJECT_0, WAIT_TIMEOUT):
        raise failed("WaitForSingleObject")
    return bool(came == WAIT_OBJECT_0)


def exit_code(process: int) -> int:
    """Of a process that has ended. Raises OSError."""
    code = DWORD()
    if not kernel32.GetExitCodeProcess(process, byref(code)):
        raise failed("GetExitCodeProcess")
    return code.value


def suspend(process: int) -> None:
    """Adds one to the suspend count of each thread. Raises OSError."""
    status = ntdll.NtSuspendProcess(process)
    if status < 0:
        raise failed_status("NtSuspendProcess", status)


def resume(process: int) -> None:
    """Takes one from the suspend count of each thread. Raises OSError."""
    status = ntdll.NtResumeProcess(process)
    if status < 0:
        raise failed_status("NtResumeProcess", status)


def terminate(process: int, code: int) -> None:
    """Ends a process. Raises OSError."""
    if not kernel32.TerminateProcess(process, code):
        raise failed("TerminateProcess")


def begin_state_change(process: int) -> int:
    """An object by which a process can be suspended, until its handle is closed.

    Raises:
        Unsupported: Windows before 11. OSError
    """
    found = HANDLE()
    access = PROCESS_STATE_CHANGE_ALL_ACCESS
    status = ntdll.NtCreateProcessStateChange(byref(found), access, None, process, 0)
    if status < 0:
        raise failed_status("NtCreateProcessStateChange", status)
    return found.value or 0


def change_state(change: int, process: int, state: int) -> None:
    """Suspends or resumes the process of such an object. Raises OSError."""
    status = ntdll.NtChangeProcessState(change, process, state, None, 0, 0)
    if status < 0:
        raise failed_status("NtChangeProcessState", status)


def create_suspended(line: str) -> PROCESS_INFORMATION:
    """Starts a program by its command line, before its first instruction; the handles are the caller's.

    Raises:
        SystemRefused
    """
    text = create_unicode_buffer(line)
    startup, made = STARTUPINFOW(cb=sizeof(STARTUPINFOW)), PROCESS_INFORMATION()
    create = kernel32.CreateProcessW
    if not create(None, text, None, None, True, CREATE_SUSPENDED, None, None, byref(startup), byref(made)):
        raise failed("CreateProcessW")
    return made
