"""The identifier that Windows' setup gave this installation (advapi32)."""

import ctypes

from hostscope.platforms.windows.native.library import Library
from hostscope.platforms.windows.native.types import DWORD, HANDLE, LONG, LPCWSTR, POINTER, PVOID, WCHAR, wide

HKEY_LOCAL_MACHINE = 0xFFFFFFFF80000002
RRF_RT_REG_SZ = 0x00000002
RRF_SUBKEY_WOW6464KEY = 0x00010000

SIGNATURES = {"RegGetValueW": (LONG, (HANDLE, LPCWSTR, LPCWSTR, DWORD, POINTER(DWORD), PVOID, POINTER(DWORD)))}
advapi32 = Library("advapi32", SIGNATURES)

_KEY = "SOFTWARE\\Microsoft\\Cryptography"


def machine_guid() -> str | None:
    """MachineGuid; None where setup left none. Clones of a disk that were not prepared (sysprep) share it."""
    text = (WCHAR * 64)()
    size = DWORD(ctypes.sizeof(text))
    flags = RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY
    code = advapi32.RegGetValueW(HKEY_LOCAL_MACHINE, _KEY, "MachineGuid", flags, None, text, ctypes.byref(size))
    return wide(text) or None if code == 0 else None
