"""The native calls that tell about the system, processes, threads and objects.

Most classes of information are not in the public headers, though their layouts have not changed since Windows XP (or
since the version that brought them) and every task manager relies on them.
"""

import ctypes
from typing import Any

from hostscope.errors import Unavailable
from hostscope.platforms.windows.native.library import Library, failed_status
from hostscope.platforms.windows.native.structures import IO_COUNTERS
from hostscope.platforms.windows.native.types import (
    BYTE,
    HANDLE,
    INT,
    LARGE_INTEGER,
    LONG,
    NTSTATUS,
    POINTER,
    PVOID,
    SIZE_T,
    ULONG,
    ULONG_PTR,
    USHORT,
    WCHAR,
    counted,
)

SystemTimeOfDayInformation = 3
SystemProcessInformation = 5
SystemExtendedHandleInformation = 64
SystemProcessIdInformation = 88
ProcessBasicInformation = 0
ProcessVmCounters = 3
ProcessWow64Information = 26
ProcessImageFileMapping = 44
ProcessCommandLineInformation = 60
ObjectNameInformation = 1
ObjectTypeInformation = 2
ObjectTypesInformation = 3

STATUS_INFO_LENGTH_MISMATCH = 0xC0000004
STATUS_BUFFER_TOO_SMALL = 0xC0000023
STATUS_BUFFER_OVERFLOW = 0x80000005

TOO_SMALL = frozenset({STATUS_INFO_LENGTH_MISMATCH, STATUS_BUFFER_TOO_SMALL, STATUS_BUFFER_OVERFLOW})
_LIMIT = 1 << 29
"""Bytes of one answer: far more than the largest host's list of handles."""
_NAME_UNITS = 32_767
_ROOM = 1 << 16
"""What an answer may grow by between two calls."""


class UNICODE_STRING(ctypes.Structure):
    _fields_ = [("Length", USHORT), ("MaximumLength", USHORT), ("Buffer", PVOID)]


class CLIENT_ID(ctypes.Structure):
    _fields_ = [("UniqueProcess", HANDLE), ("UniqueThread", HANDLE)]


class VM_COUNTERS(ctypes.Structure):
    _fields_ = [
        ("PeakVirtualSize", SIZE_T),
        ("VirtualSize", SIZE_T),
        ("PageFaultCount", ULONG),
        ("PeakWorkingSetSize", SIZE_T),
        ("WorkingSetSize", SIZE_T),
        ("QuotaPeakPagedPoolUsage", SIZE_T),
        ("QuotaPagedPoolUsage", SIZE_T),
        ("QuotaPeakNonPagedPoolUsage", SIZE_T),
        ("QuotaNonPagedPoolUsage", SIZE_T),
        ("PagefileUsage", SIZE_T),
        ("PeakPagefileUsage", SIZE_T),
    ]


class SYSTEM_PROCESS_INFORMATION(ctypes.Structure):
    """`Reserved` holds, since Windows 7, WorkingSetPrivateSize, HardFaultCount with NumberOfThreadsHighWatermark (both
    ULONG), and CycleTime."""

    _fields_ = [
        ("NextEntryOffset", ULONG),
        ("NumberOfThreads", ULONG),
        ("Reserved", LARGE_INTEGER * 3),
        ("CreateTime", LARGE_INTEGER),
        ("UserTime", LARGE_INTEGER),
        ("KernelTime", LARGE_INTEGER),
        ("ImageName", UNICODE_STRING),
        ("BasePriority", LONG),
        ("UniqueProcessId", HANDLE),
        ("InheritedFromUniqueProcessId", HANDLE),
        ("HandleCount", ULONG),
        ("SessionId", ULONG),
        ("PageDirectoryBase", ULONG),
        ("VirtualMemoryCounters", VM_COUNTERS),
        ("PrivatePageCount", SIZE_T),
        ("IoCounters", IO_COUNTERS),
    ]


class SYSTEM_THREAD_INFORMATION(ctypes.Structure):
    """`Reserved1` is KernelTime, UserTime and CreateTime; `Reserved2` WaitTime; `Reserved3` ContextSwitches."""

    _fields_ = [
        ("Reserved1", LARGE_INTEGER * 3),
        ("Reserved2", ULONG),
        ("StartAddress", PVOID),
        ("ClientId", CLIENT_ID),
        ("Priority", LONG),
        ("BasePriority", LONG),
        ("Reserved3", ULONG),
        ("ThreadState", ULONG),
        ("WaitReason", ULONG),
    ]


class SYSTEM_TIMEOFDAY_INFORMATION(ctypes.Structure):
    """`Reserved1` is a ULONG of padding, then BootTimeBias and SleepTimeBias, both ULONGLONG."""

    _fields_ = [
        ("BootTime", LARGE_INTEGER),
        ("CurrentTime", LARGE_INTEGER),
        ("TimeZoneBias", LARGE_INTEGER),
        ("CurrentTimeZoneId", ULONG),
        ("Reserved1", BYTE * 20),
    ]


class PROCESS_BASIC_INFORMATION(ctypes.Structure):
    _fields_ = [
        ("ExitStatus", NTSTATUS),
        ("PebBaseAddress", PVOID),
        ("AffinityMask", ULONG_PTR),
        ("BasePriority", LONG),
        ("UniqueProcessId", ULONG_PTR),
        ("InheritedFromUniqueProcessId", ULONG_PTR),
    ]


class VM_COUNTERS_EX(ctypes.Structure):
    _fields_ = [*VM_COUNTERS._fields_, ("PrivateUsage", SIZE_T)]


class SYSTEM_PROCESS_ID_INFORMATION(ctypes.Structure):
    _fields_ = [("ProcessId", HANDLE), ("ImageName", UNICODE_STRING)]


class SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX(ctypes.Structure):
    _fields_ = [
        ("Object", PVOID),
        ("UniqueProcessId", ULONG_PTR),
        ("HandleValue", ULONG_PTR),
        ("GrantedAccess", ULONG),
        ("CreatorBackTraceIndex", USHORT),
        ("ObjectTypeIndex", USHORT),
        ("HandleAttributes", ULONG),
        ("Reserved", ULONG),
    ]


NOT_IN_HEADERS = {
    "VM_COUNTERS_EX": "phnt ntpsapi.h, since Windows XP; live under Wine",
    "SYSTEM_PROCESS_ID_INFORMATION": "phnt ntexapi.h, since Windows Vista",
    "SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX": "phnt ntexapi.h, since Windows XP; live under Wine",
    "SystemTimeOfDayInformation": "phnt ntexapi.h; live under Wine",
    "SystemExtendedHandleInformation": "phnt ntexapi.h, since Windows XP; live under Wine",
    "SystemProcessIdInformation": "phnt ntexapi.h, since Windows Vista",
    "ProcessCommandLineInformation": "phnt ntpsapi.h, since Windows 8.1",
    "ObjectNameInformation": "phnt ntobapi.h; live under Wine",
    "ObjectTypeInformation": "phnt ntobapi.h; live under Wine",
    "ObjectTypesInformation": "phnt ntobapi.h; live under Wine",
}

SIGNATURES = {
    "NtQuerySystemInformation": (NTSTATUS, (INT, PVOID, ULONG, POINTER(ULONG))),
    "NtQueryInformationProcess": (NTSTATUS, (HANDLE, INT, PVOID, ULONG, POINTER(ULONG))),
    "NtQueryInformationThread": (NTSTATUS, (HANDLE, INT, PVOID, ULONG, POINTER(ULONG))),
    "NtQueryObject": (NTSTATUS, (HANDLE, INT, PVOID, ULONG, POINTER(ULONG))),
}
ntdll = Library("ntdll", SIGNATURES)


def query_system(kind: int, first: int = _ROOM) -> tuple[memoryview, int]:
    """A class of system information: its bytes, and the address they had, for the pointers in them.

    The buffer grows until the answer fits. A view keeps it alive.

    Args:
        first: bytes to try first.

    Raises:
        SystemRefused: with the NTSTATUS.
        Unavailable: the answer does not end.
    """
    size, needed = first, ULONG()
    while size <= _LIMIT:
        buffer: Any = (ctypes.c_char * size)()
        status = ntdll.NtQuerySystemInformation(kind, buffer, size, ctypes.byref(needed)) & 0xFFFFFFFF
        if not status:
            return memoryview(buffer).cast("B")[: needed.value or size], ctypes.addressof(buffer)
        if status not in TOO_SMALL:
            raise failed_status("NtQuerySystemInformation", status)
        size = max(needed.value + _ROOM, size * 2)
    raise Unavailable(f"NtQuerySystemInformation: class {kind} is longer than {_LIMIT} bytes")


def query_process(process: int, kind: int, into: Any) -> None:
    """A class of process information that has a fixed size. Raises OSError with the NTSTATUS."""
    size = ctypes.sizeof(into)
    status = ntdll.NtQueryInformationProcess(process, kind, ctypes.byref(into), size, None) & 0xFFFFFFFF
    if status:
        raise failed_status("NtQueryInformationProcess", status)


def query_thread(thread: int, kind: int, into: Any) -> None:
    """A class of thread information. Raises OSError with the NTSTATUS."""
    size = ctypes.sizeof(into)
    status = ntdll.NtQueryInformationThread(thread, kind, ctypes.byref(into), size, None) & 0xFFFFFFFF
    if status:
        raise failed_status("NtQueryInformationThread", status)


def query_process_text(process: int, kind: int, first: int, most: int) -> tuple[bytes, int]:
    """A class of process information as long as its text: its bytes, and the address that they had.

    Args:
        first: bytes to try first; it grows up to `most`.

    Raises:
        OSError: with the NTSTATUS.
    """
    size, needed = first, ULONG()
    while True:
        buffer: Any = (ctypes.c_char * size)()
        status = ntdll.NtQueryInformationProcess(process, kind, buffer, size, ctypes.byref(needed)) & 0xFFFFFFFF
        if not status:
            return buffer.raw, ctypes.addressof(buffer)
        if status not in TOO_SMALL or size >= most:
            raise failed_status("NtQueryInformationProcess", status)
        size = min(max(needed.value, size * 2), most)


def image_of(pid: int) -> str:
    """The file that a process was made of, by its device, without opening the process; virtual ones give a bare name.

    Raises:
        OSError: 0xC000000B when no process has the pid.
    """
    units = (WCHAR * _NAME_UNITS)()
    found = SYSTEM_PROCESS_ID_INFORMATION(pid, UNICODE_STRING(0, ctypes.sizeof(units), ctypes.addressof(units)))
    size = ctypes.sizeof(found)
    status = ntdll.NtQuerySystemInformation(SystemProcessIdInformation, ctypes.byref(found), size, None) & 0xFFFFFFFF
    if status:
        raise failed_status("NtQuerySystemInformation", status)
    return counted(units, found.ImageName.Length // 2)
