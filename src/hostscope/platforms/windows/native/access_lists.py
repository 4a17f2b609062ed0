"""Who may open a file (advapi32): access lists, as text in the security descriptor definition language."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, LPCWSTR, LPWSTR, POINTER, PVOID, ULONG

SDDL_REVISION_1 = 1
DACL_SECURITY_INFORMATION = 0x00000004
PROTECTED_DACL_SECURITY_INFORMATION = 0x80000000

SIGNATURES = {
    "ConvertStringSecurityDescriptorToSecurityDescriptorW": (
        BOOL,
        (LPCWSTR, DWORD, POINTER(PVOID), POINTER(ULONG)),
    ),
    "ConvertSecurityDescriptorToStringSecurityDescriptorW": (
        BOOL,
        (PVOID, DWORD, DWORD, POINTER(LPWSTR), POINTER(ULONG)),
    ),
    "SetFileSecurityW": (BOOL, (LPCWSTR, DWORD, PVOID)),
    "GetFileSecurityW": (BOOL, (LPCWSTR, DWORD, PVOID, DWORD, POINTER(DWORD))),
    "LocalFree": (HANDLE, (HANDLE,)),
}
_OF_KERNEL32 = {"LocalFree": SIGNATURES["LocalFree"]}
advapi32 = Library("advapi32", SIGNATURES)
kernel32 = Library("kernel32", _OF_KERNEL32)


def set_access_list(path: str, text: str) -> None:
    """Gives a file an access list (``D:…``) of its own, which takes nothing from its folder's.

    Raises:
        SystemRefused: 5 when it may not be changed; 1 and 50 on file systems without access lists.
    """
    with _descriptor(text) as made:
        if not advapi32.SetFileSecurityW(path, DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION, made):
            raise failed("SetFileSecurityW")


def read_access_list(path: str) -> str:
    """The access list of a file. Raises SystemRefused."""
    needed, text = DWORD(), LPWSTR()
    advapi32.GetFileSecurityW(path, DACL_SECURITY_INFORMATION, None, 0, ctypes.byref(needed))
    buffer = ctypes.create_string_buffer(needed.value)
    if not advapi32.GetFileSecurityW(path, DACL_SECURITY_INFORMATION, buffer, needed.value, ctypes.byref(needed)):
        raise failed("GetFileSecurityW")
    if not advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW(
        buffer, SDDL_REVISION_1, DACL_SECURITY_INFORMATION, ctypes.byref(text), None
    ):
        raise failed("ConvertSecurityDescriptorToStringSecurityDescriptorW")
    try:
        return text.value or ""
    finally:
        kernel32.LocalFree(ctypes.cast(text, PVOID))


@contextmanager
def _descriptor(text: str) -> Iterator[ctypes.c_void_p]:
    made = PVOID()
    convert = advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
    if not convert(text, SDDL_REVISION_1, ctypes.byref(made), None):
        raise failed("ConvertStringSecurityDescriptorToSecurityDescriptorW")
    try:
        yield made
    finally:
        kernel32.LocalFree(made)
