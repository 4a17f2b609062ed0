"""Drives, the devices that they are (kernel32), and how long a path may be (ntdll)."""

import ctypes

from hostscope.platforms.windows.native.library import Library
from hostscope.platforms.windows.native.performance import version
from hostscope.platforms.windows.native.types import BYTE, DWORD, LPCWSTR, POINTER, WCHAR, wide

IsLongPathAwareProcess = 0x80
"""In the byte BitField of PEB."""
NOT_IN_HEADERS = {
    "IsLongPathAwareProcess": "phnt ntpebteb.h; the runtime of Go sets it for every program (os_windows.go)",
    "RtlGetCurrentPeb": "phnt ntrtl.h, and the runtime of Go; exported since Windows XP, live under Wine",
}
_BIT_FIELD_AT = 3
_FIRST_BUILD = (10, 0, 15063)
"""Windows 10 1703, the first that looks at the bit."""
_DEVICE_UNITS = 1024

SIGNATURES = {
    "QueryDosDeviceW": (DWORD, (LPCWSTR, POINTER(WCHAR), DWORD)),
    "GetLogicalDrives": (DWORD, ()),
}
kernel32 = Library("kernel32", SIGNATURES)
_NTDLL_SIGNATURES = {"RtlGetCurrentPeb": (POINTER(BYTE), ())}
ntdll = Library("ntdll", _NTDLL_SIGNATURES)


def drives() -> dict[str, str]:
    """Devices of the drives we see: ``\\Device\\HarddiskVolume3`` -> ``C:``."""
    found, units = {}, (WCHAR * _DEVICE_UNITS)()
    letters = kernel32.GetLogicalDrives()
    for index in range(26):
        if letters >> index & 1:
            name = f"{chr(ord('A') + index)}:"
            if kernel32.QueryDosDeviceW(name, units, _DEVICE_UNITS):
                found[wide(units)] = name
    return found


def allow_long() -> None:
    """Paths of this process may have more than 259 characters from now on, whatever the registry says.

    A program's manifest is heard only where the registry's LongPathsEnabled is set, which by default it is not. The bit
    is what both of them end in; libraries read it at each path. Older Windows is left as it is.

    Raises:
        SystemRefused, Unsupported: nobody tells the version, or where the process's block is.
    """
    here = version()
    if (here.dwMajorVersion, here.dwMinorVersion, here.dwBuildNumber) >= _FIRST_BUILD:
        ctypes.cast(ntdll.RtlGetCurrentPeb(), POINTER(BYTE))[_BIT_FIELD_AT] |= IsLongPathAwareProcess
