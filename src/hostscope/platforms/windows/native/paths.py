"""Drives, and the devices that they are (kernel32)."""

from hostscope.platforms.windows.native.library import Library
from hostscope.platforms.windows.native.types import DWORD, LPCWSTR, POINTER, WCHAR, wide

_DEVICE_UNITS = 1024

SIGNATURES = {
    "QueryDosDeviceW": (DWORD, (LPCWSTR, POINTER(WCHAR), DWORD)),
    "GetLogicalDrives": (DWORD, ()),
}
kernel32 = Library("kernel32", SIGNATURES)


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
