"""What protects a process: mitigation policies and the kernel's own marks (kernel32, ntdll)."""

from ctypes import Structure, byref, sizeof
from typing import Any

from hostscope.errors import Unsupported
from hostscope.platforms.windows.native.library import Library, failed, failed_status
from hostscope.platforms.windows.native.ntdll import (
    PROCESS_BASIC_INFORMATION,
    STATUS_INFO_LENGTH_MISMATCH,
    ProcessBasicInformation,
    ntdll,
    query_process,
)
from hostscope.platforms.windows.native.types import (
    BOOL,
    BOOLEAN,
    BYTE,
    DWORD,
    HANDLE,
    INT,
    POINTER,
    PVOID,
    SIZE_T,
    ULONG,
)

ProcessBreakOnTermination = 29
ProcessProtectionInformation = 61

ProcessDEPPolicy = 0
ProcessASLRPolicy = 1
ProcessDynamicCodePolicy = 2
ProcessStrictHandleCheckPolicy = 3
ProcessSystemCallDisablePolicy = 4
ProcessExtensionPointDisablePolicy = 6
ProcessControlFlowGuardPolicy = 7
ProcessSignaturePolicy = 8
ProcessFontDisablePolicy = 9
ProcessImageLoadPolicy = 10
ProcessSystemCallFilterPolicy = 11
ProcessPayloadRestrictionPolicy = 12
ProcessChildProcessPolicy = 13
ProcessSideChannelIsolationPolicy = 14
ProcessUserShadowStackPolicy = 15
ProcessRedirectionTrustPolicy = 16
ProcessUserPointerAuthPolicy = 17
ProcessSEHOPPolicy = 18

NOT_IN_HEADERS = {
    "ProcessProtectionInformation": "phnt ntpsapi.h, since Windows 8.1",
    "PROCESS_EXTENDED_BASIC_INFORMATION": "phnt ntpsapi.h; Size and Flags since Windows 8.1",
}


class PROCESS_MITIGATION_DEP_POLICY(Structure):
    """The only policy that is more than flags."""

    _fields_ = (("Flags", DWORD), ("Permanent", BOOLEAN))


class PROCESS_MITIGATION_ASLR_POLICY(Structure):
    """Flags, as all the others are."""

    _fields_ = (("Flags", DWORD),)


class PROCESS_EXTENDED_BASIC_INFORMATION(Structure):
    """With `Size` set, the class of PROCESS_BASIC_INFORMATION answers this too."""

    _fields_ = (("Size", SIZE_T), ("BasicInfo", PROCESS_BASIC_INFORMATION), ("Flags", ULONG))


SIGNATURES = {
    "GetProcessMitigationPolicy": (BOOL, (HANDLE, INT, PVOID, SIZE_T)),
    "IsProcessCritical": (BOOL, (HANDLE, POINTER(BOOL))),
}
kernel32 = Library("kernel32", SIGNATURES)


def read_policy(process: int, policy: int) -> int:
    """The flags of one mitigation policy; of DEP with bit 32 for `Permanent`.

    Needs: PROCESS_QUERY_INFORMATION.

    Raises:
        SystemRefused: 87 when this Windows has no such policy.
    """
    if policy == ProcessDEPPolicy:
        dep = PROCESS_MITIGATION_DEP_POLICY()
        _policy(process, policy, dep)
        return int(dep.Flags) | bool(dep.Permanent) << 32
    found = PROCESS_MITIGATION_ASLR_POLICY()
    _policy(process, policy, found)
    return int(found.Flags)


def _policy(process: int, policy: int, into: Any) -> None:
    if not kernel32.GetProcessMitigationPolicy(process, policy, byref(into), sizeof(into)):
        raise failed("GetProcessMitigationPolicy")


def read_protection(process: int) -> int:
    """PS_PROTECTION, one byte. Needs: PROCESS_QUERY_LIMITED_INFORMATION. Source: since Windows 8.1.

    Raises:
        SystemRefused
    """
    found = BYTE()
    query_process(process, ProcessProtectionInformation, found)
    return found.value


def is_critical(process: int) -> bool:
    """Whether its end stops the system.

    Source: IsProcessCritical (Windows 8.1); before, the class of information behind it.

    Raises:
        SystemRefused
    """
    try:
        answer = BOOL()
        if not kernel32.IsProcessCritical(process, byref(answer)):
            raise failed("IsProcessCritical")
        return bool(answer.value)
    except Unsupported:
        found = ULONG()
        query_process(process, ProcessBreakOnTermination, found)
        return bool(found.value)


def read_flags(process: int) -> int:
    """Flags of PROCESS_EXTENDED_BASIC_INFORMATION.

    Raises:
        SystemRefused
        Unsupported: before Windows 8.1.
    """
    found = PROCESS_EXTENDED_BASIC_INFORMATION(Size=sizeof(PROCESS_EXTENDED_BASIC_INFORMATION))
    status = ntdll.NtQueryInformationProcess(process, ProcessBasicInformation, byref(found), sizeof(found), None)
    if status & 0xFFFFFFFF == STATUS_INFO_LENGTH_MISMATCH:
        raise Unsupported("this Windows tells no extended flags of processes", "Windows 8.1 has them")
    if status < 0:
        raise failed_status("NtQueryInformationProcess", status)
    return int(found.Flags)
