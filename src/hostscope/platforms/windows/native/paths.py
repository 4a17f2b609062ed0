"""Names of files, by their device and by their drive (kernel32)."""

from ctypes import byref

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, LPCWSTR, POINTER, WCHAR, wide

PROCESS_NAME_NATIVE = 0x00000001
_UNITS = 32_768
_DEVICE_UNITS = 1024

SIGNATURES = {
    "QueryFullProcessImageNameW": (BOOL, (HANDLE, DWORD, POINTER(WCHAR), POINTER(DWORD))),
    "QueryDosDeviceW": (DWORD, (LPCWSTR, POINTER(WCHAR), DWORD)),
    "GetLogicalDrives": (DWORD, ()),
}
kernel32 = Library("kernel32", SIGNATURES)


def image_path(process: int) -> str:
    """The executable's path, by its drive. Raises OSError."""
    units, size = (WCHAR * _UNITS)(), DWORD(_UNITS)
    if not kernel32.QueryFullProcessImageNameW(process, 0, units, byref(size)):
        raise failed("QueryFullProcessImageNameW")
    return wide(units)


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
