"""What the kernel says of code integrity, Secure Boot and the secure kernel (ntdll)."""

from ctypes import Structure, byref, sizeof
from typing import Any

from hostscope.platforms.windows.native.library import failed_status
from hostscope.platforms.windows.native.ntdll import ntdll
from hostscope.platforms.windows.native.types import BOOLEAN, UCHAR, ULONG, ULONGLONG

SystemCodeIntegrityInformation = 103
SystemSecureBootInformation = 145
SystemIsolatedUserModeInformation = 165

NOT_IN_HEADERS = {
    "SystemSecureBootInformation": "phnt ntexapi.h, since Windows 8",
    "SystemIsolatedUserModeInformation": "phnt ntexapi.h, since Windows 10",
    "SYSTEM_SECUREBOOT_INFORMATION": "phnt ntexapi.h, since Windows 8",
    "SYSTEM_ISOLATED_USER_MODE_INFORMATION": "phnt ntexapi.h, since Windows 10",
}


class SYSTEM_CODEINTEGRITY_INFORMATION(Structure):
    """`Length` is set by who asks."""

    _fields_ = (("Length", ULONG), ("CodeIntegrityOptions", ULONG))


class SYSTEM_SECUREBOOT_INFORMATION(Structure):
    """Secure Boot of the firmware."""

    _fields_ = (("SecureBootEnabled", BOOLEAN), ("SecureBootCapable", BOOLEAN))


class SYSTEM_ISOLATED_USER_MODE_INFORMATION(Structure):
    """Flags: bit 0 of the first SecureKernelRunning, bit 1 HvciEnabled; bit 0 of the second TrustletRunning."""

    _fields_ = (("Flags", UCHAR), ("MoreFlags", UCHAR), ("Spare0", UCHAR * 6), ("Spare1", ULONGLONG))


def read_code_integrity() -> int:
    """CodeIntegrityOptions. Raises SystemRefused with the NTSTATUS, as the others here."""
    found = SYSTEM_CODEINTEGRITY_INFORMATION(sizeof(SYSTEM_CODEINTEGRITY_INFORMATION))
    _query(SystemCodeIntegrityInformation, found)
    return int(found.CodeIntegrityOptions)


def read_secure_boot() -> bool:
    """Whether Secure Boot is on."""
    found = SYSTEM_SECUREBOOT_INFORMATION()
    _query(SystemSecureBootInformation, found)
    return bool(found.SecureBootEnabled)


def read_isolation() -> tuple[bool, bool]:
    """Whether the secure kernel runs, and whether it enforces code integrity."""
    found = SYSTEM_ISOLATED_USER_MODE_INFORMATION()
    _query(SystemIsolatedUserModeInformation, found)
    return bool(found.Flags & 1), bool(found.Flags & 2)


def _query(kind: int, into: Any) -> None:
    status = ntdll.NtQuerySystemInformation(kind, byref(into), sizeof(into), byref(ULONG()))
    if status < 0:
        raise failed_status("NtQuerySystemInformation", status)
