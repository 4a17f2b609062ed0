"""Jobs: groups of processes that are limited, and end, together (kernel32)."""

from ctypes import Structure, byref, sizeof

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.structures import IO_COUNTERS
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    LARGE_INTEGER,
    LPCWSTR,
    POINTER,
    PVOID,
    SIZE_T,
    ULONG_PTR,
)

JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE = 0x00002000
JobObjectExtendedLimitInformation = 9


class JOBOBJECT_BASIC_LIMIT_INFORMATION(Structure):
    """Limits of a job; `LimitFlags` says which hold."""

    _fields_ = (
        ("PerProcessUserTimeLimit", LARGE_INTEGER),
        ("PerJobUserTimeLimit", LARGE_INTEGER),
        ("LimitFlags", DWORD),
        ("MinimumWorkingSetSize", SIZE_T),
        ("MaximumWorkingSetSize", SIZE_T),
        ("ActiveProcessLimit", DWORD),
        ("Affinity", ULONG_PTR),
        ("PriorityClass", DWORD),
        ("SchedulingClass", DWORD),
    )


class JOBOBJECT_EXTENDED_LIMIT_INFORMATION(Structure):
    """Limits, those of memory included."""

    _fields_ = (
        ("BasicLimitInformation", JOBOBJECT_BASIC_LIMIT_INFORMATION),
        ("IoInfo", IO_COUNTERS),
        ("ProcessMemoryLimit", SIZE_T),
        ("JobMemoryLimit", SIZE_T),
        ("PeakProcessMemoryUsed", SIZE_T),
        ("PeakJobMemoryUsed", SIZE_T),
    )


SIGNATURES = {
    "CreateJobObjectW": (HANDLE, (PVOID, LPCWSTR)),
    "AssignProcessToJobObject": (BOOL, (HANDLE, HANDLE)),
    "IsProcessInJob": (BOOL, (HANDLE, HANDLE, POINTER(BOOL))),
    "SetInformationJobObject": (BOOL, (HANDLE, INT, PVOID, DWORD)),
    "QueryInformationJobObject": (BOOL, (HANDLE, INT, PVOID, DWORD, POINTER(DWORD))),
}
kernel32 = Library("kernel32", SIGNATURES)


def create() -> int | None:
    """A job without a name; None where none can be made."""
    job: int | None = kernel32.CreateJobObjectW(None, None)
    return job


def assign(job: int, process: int) -> bool:
    """Puts a process into a job; whether it could."""
    return bool(kernel32.AssignProcessToJobObject(job, process))


def limit(job: int, flags: int) -> bool:
    """Sets what becomes of a job's processes; whether it could."""
    limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION()
    limits.BasicLimitInformation.LimitFlags = flags
    size = sizeof(limits)
    return bool(kernel32.SetInformationJobObject(job, JobObjectExtendedLimitInformation, byref(limits), size))


def is_in_job(process: int) -> bool:
    """Whether it is in any job.

    Raises:
        SystemRefused
    """
    answer = BOOL()
    if not kernel32.IsProcessInJob(process, None, byref(answer)):
        raise failed("IsProcessInJob")
    return bool(answer.value)


def read_limits(job: int | None) -> int:
    """LimitFlags of a job; None for the innermost one that we are in ourselves.

    Raises:
        SystemRefused
    """
    found = JOBOBJECT_EXTENDED_LIMIT_INFORMATION()
    size = sizeof(found)
    if not kernel32.QueryInformationJobObject(job, JobObjectExtendedLimitInformation, byref(found), size, None):
        raise failed("QueryInformationJobObject")
    return int(found.BasicLimitInformation.LimitFlags)
