"""What acts on processes (kernel32, ntdll): ending, suspending, waiting; and what identifies one through its handle."""

from ctypes import Structure, byref, create_unicode_buffer, sizeof

from hostscope.platforms.windows.native.library import Library, failed, failed_status
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    LARGE_INTEGER,
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
STILL_ACTIVE = 259
CREATE_SUSPENDED = 0x00000004
CREATE_UNICODE_ENVIRONMENT = 0x00000400
JOB_OBJECT_LIMIT_BREAKAWAY_OK = 0x00000800
JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE = 0x00002000
JOB_OBJECT_QUERY = 0x0004
JOB_OBJECT_TERMINATE = 0x0008
JobObjectExtendedLimitInformation = 9
PROCESS_SUSPEND_STATE = 0
PROCESS_RESUME_STATE = 1
PROCESS_STATE_CHANGE_ALL_ACCESS = 0x1F0001


class FILETIME(Structure):
    """100 ns since 1601."""

    _fields_ = (("dwLowDateTime", DWORD), ("dwHighDateTime", DWORD))


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


class IO_COUNTERS(Structure):
    _fields_ = (
        ("ReadOperationCount", ULONG64),
        ("WriteOperationCount", ULONG64),
        ("OtherOperationCount", ULONG64),
        ("ReadTransferCount", ULONG64),
        ("WriteTransferCount", ULONG64),
        ("OtherTransferCount", ULONG64),
    )


class JOBOBJECT_BASIC_LIMIT_INFORMATION(Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", LARGE_INTEGER),
        ("PerJobUserTimeLimit", LARGE_INTEGER),
        ("LimitFlags", DWORD),
        ("MinimumWorkingSetSize", SIZE_T),
        ("MaximumWorkingSetSize", SIZE_T),
        ("ActiveProcessLimit", DWORD),
        ("Affinity", SIZE_T),
        ("PriorityClass", DWORD),
        ("SchedulingClass", DWORD),
    )


class JOBOBJECT_EXTENDED_LIMIT_INFORMATION(Structure):
    _fields_ = (
        ("BasicLimitInformation", JOBOBJECT_BASIC_LIMIT_INFORMATION),
        ("IoInfo", IO_COUNTERS),
        ("ProcessMemoryLimit", SIZE_T),
        ("JobMemoryLimit", SIZE_T),
        ("PeakProcessMemoryUsed", SIZE_T),
        ("PeakJobMemoryUsed", SIZE_T),
    )


SIGNATURES = {
    "TerminateProcess": (BOOL, (HANDLE, UINT)),
    "WaitForSingleObject": (DWORD, (HANDLE, DWORD)),
    "GetExitCodeProcess": (BOOL, (HANDLE, POINTER(DWORD))),
    "GetProcessTimes": (
        BOOL,
        (HANDLE, POINTER(FILETIME), POINTER(FILETIME), POINTER(FILETIME), POINTER(FILETIME)),
    ),
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
    "CreateJobObjectW": (HANDLE, (PVOID, LPCWSTR)),
    "OpenJobObjectW": (HANDLE, (DWORD, BOOL, LPCWSTR)),
    "AssignProcessToJobObject": (BOOL, (HANDLE, HANDLE)),
    "IsProcessInJob": (BOOL, (HANDLE, HANDLE, POINTER(BOOL))),
    "SetInformationJobObject": (BOOL, (HANDLE, INT, PVOID, DWORD)),
    "TerminateJobObject": (BOOL, (HANDLE, UINT)),
    "CloseHandle": (BOOL, (HANDLE,)),
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


def created(process: int) -> int:
    """When the process of a handle began: 100 ns since 1601.

    Raises:
        OSError
    """
    began, *others = (FILETIME() for _ in range(4))
    if not kernel32.GetProcessTimes(process, byref(began), *map(byref, others)):
        raise failed("GetProcessTimes")
    return int(began.dwHighDateTime) << 32 | int(began.dwLowDateTime)


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


def limit_job(job: int, flags: int) -> bool:
    """Sets what becomes of a job's processes; whether it could."""
    limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION()
    limits.BasicLimitInformation.LimitFlags = flags
    size = sizeof(limits)
    return bool(kernel32.SetInformationJobObject(job, JobObjectExtendedLimitInformation, byref(limits), size))
