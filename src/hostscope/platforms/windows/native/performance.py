"""What the kernel counts for the whole host, and what the machine is (kernel32, psapi, ntdll)."""

import ctypes

from hostscope.platforms.windows.native.library import Library, failed, failed_status
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    DWORD_PTR,
    LARGE_INTEGER,
    NTSTATUS,
    POINTER,
    PVOID,
    SIZE_T,
    ULONG,
    ULONGLONG,
    WCHAR,
    WORD,
    wide,
)

SystemPerformanceInformation = 2
SystemProcessorPerformanceInformation = 8
SystemPageFileInformation = 18
PROCESSOR_ARCHITECTURE_INTEL = 0
PROCESSOR_ARCHITECTURE_ARM = 5
PROCESSOR_ARCHITECTURE_AMD64 = 9
PROCESSOR_ARCHITECTURE_ARM64 = 12
ComputerNamePhysicalDnsHostname = 5
NOT_IN_HEADERS = {
    "SystemPageFileInformation": "phnt ntexapi.h",
    "RtlGetVersion": "wdm.h of the Windows driver kit, since Windows 2000; live under Wine",
}
_NAME_UNITS = 256


class MEMORYSTATUSEX(ctypes.Structure):
    _fields_ = [
        ("dwLength", DWORD),
        ("dwMemoryLoad", DWORD),
        ("ullTotalPhys", ULONGLONG),
        ("ullAvailPhys", ULONGLONG),
        ("ullTotalPageFile", ULONGLONG),
        ("ullAvailPageFile", ULONGLONG),
        ("ullTotalVirtual", ULONGLONG),
        ("ullAvailVirtual", ULONGLONG),
        ("ullAvailExtendedVirtual", ULONGLONG),
    ]


class PERFORMANCE_INFORMATION(ctypes.Structure):
    _fields_ = [
        ("cb", DWORD),
        ("CommitTotal", SIZE_T),
        ("CommitLimit", SIZE_T),
        ("CommitPeak", SIZE_T),
        ("PhysicalTotal", SIZE_T),
        ("PhysicalAvailable", SIZE_T),
        ("SystemCache", SIZE_T),
        ("KernelTotal", SIZE_T),
        ("KernelPaged", SIZE_T),
        ("KernelNonpaged", SIZE_T),
        ("PageSize", SIZE_T),
        ("HandleCount", DWORD),
        ("ProcessCount", DWORD),
        ("ThreadCount", DWORD),
    ]


class SYSTEM_PROCESSOR_PERFORMANCE_INFORMATION(ctypes.Structure):
    """Times in 100 ns; that of the kernel includes the idle one. `Reserved1` is DpcTime and InterruptTime."""

    _fields_ = [
        ("IdleTime", LARGE_INTEGER),
        ("KernelTime", LARGE_INTEGER),
        ("UserTime", LARGE_INTEGER),
        ("Reserved1", LARGE_INTEGER * 2),
        ("Reserved2", ULONG),
    ]


class OSVERSIONINFOW(ctypes.Structure):
    _fields_ = [
        ("dwOSVersionInfoSize", DWORD),
        ("dwMajorVersion", DWORD),
        ("dwMinorVersion", DWORD),
        ("dwBuildNumber", DWORD),
        ("dwPlatformId", DWORD),
        ("szCSDVersion", WCHAR * 128),
    ]


class SYSTEM_INFO(ctypes.Structure):
    _fields_ = [
        ("wProcessorArchitecture", WORD),
        ("wReserved", WORD),
        ("dwPageSize", DWORD),
        ("lpMinimumApplicationAddress", PVOID),
        ("lpMaximumApplicationAddress", PVOID),
        ("dwActiveProcessorMask", DWORD_PTR),
        ("dwNumberOfProcessors", DWORD),
        ("dwProcessorType", DWORD),
        ("dwAllocationGranularity", DWORD),
        ("wProcessorLevel", WORD),
        ("wProcessorRevision", WORD),
    ]


SIGNATURES = {
    "GlobalMemoryStatusEx": (BOOL, (POINTER(MEMORYSTATUSEX),)),
    "GetNativeSystemInfo": (None, (POINTER(SYSTEM_INFO),)),
    "GetActiveProcessorCount": (DWORD, (WORD,)),
    "GetComputerNameExW": (BOOL, (ctypes.c_int32, POINTER(WCHAR), POINTER(DWORD))),
}
kernel32 = Library("kernel32", SIGNATURES)
_PSAPI_SIGNATURES = {"GetPerformanceInfo": (BOOL, (POINTER(PERFORMANCE_INFORMATION), DWORD))}
psapi = Library("psapi", _PSAPI_SIGNATURES)
_NTDLL_SIGNATURES = {"RtlGetVersion": (NTSTATUS, (POINTER(OSVERSIONINFOW),))}
ntdll = Library("ntdll", _NTDLL_SIGNATURES)
ALL_PROCESSOR_GROUPS = 0xFFFF


def memory_status() -> MEMORYSTATUSEX:
    """Physical memory, and what may be committed. Raises SystemRefused."""
    status = MEMORYSTATUSEX(dwLength=ctypes.sizeof(MEMORYSTATUSEX))
    if not kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise failed("GlobalMemoryStatusEx")
    return status


def performance() -> PERFORMANCE_INFORMATION:
    """Commit, cache and numbers of things, in pages. Raises SystemRefused."""
    info = PERFORMANCE_INFORMATION(cb=ctypes.sizeof(PERFORMANCE_INFORMATION))
    if not psapi.GetPerformanceInfo(ctypes.byref(info), ctypes.sizeof(info)):
        raise failed("GetPerformanceInfo")
    return info


def version() -> OSVERSIONINFOW:
    """The version without a program's compatibility settings, which GetVersionEx obeys. Raises SystemRefused."""
    info = OSVERSIONINFOW(dwOSVersionInfoSize=ctypes.sizeof(OSVERSIONINFOW))
    status = ntdll.RtlGetVersion(ctypes.byref(info))
    if status:
        raise failed_status("RtlGetVersion", status)
    return info


def machine() -> SYSTEM_INFO:
    """The machine itself, also as seen by an emulated program."""
    info = SYSTEM_INFO()
    kernel32.GetNativeSystemInfo(ctypes.byref(info))
    return info


def processors() -> int:
    """Logical processors of all groups."""
    return int(kernel32.GetActiveProcessorCount(ALL_PROCESSOR_GROUPS))


def host_name() -> str:
    """The name that it has in DNS, without a domain. Raises SystemRefused."""
    text, size = (WCHAR * _NAME_UNITS)(), DWORD(_NAME_UNITS)
    if not kernel32.GetComputerNameExW(ComputerNamePhysicalDnsHostname, text, ctypes.byref(size)):
        raise failed("GetComputerNameExW")
    return wide(text)
