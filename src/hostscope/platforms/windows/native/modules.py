"""Programs and libraries that a process has loaded (psapi)."""

from ctypes import Structure, byref, sizeof
from typing import NamedTuple

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, HMODULE, POINTER, PVOID, WCHAR, counted

LIST_MODULES_ALL = 0x03
_MOST = 1 << 16
_PATH_UNITS = 32_768


class MODULEINFO(Structure):
    _fields_ = [("lpBaseOfDll", PVOID), ("SizeOfImage", DWORD), ("EntryPoint", PVOID)]


SIGNATURES = {
    "EnumProcessModulesEx": (BOOL, (HANDLE, POINTER(HMODULE), DWORD, POINTER(DWORD), DWORD)),
    "GetModuleFileNameExW": (DWORD, (HANDLE, HMODULE, POINTER(WCHAR), DWORD)),
    "GetModuleInformation": (BOOL, (HANDLE, HMODULE, POINTER(MODULEINFO), DWORD)),
}
psapi = Library("psapi", SIGNATURES)


class Loaded(NamedTuple):
    """One module."""

    path: str
    base: int
    size_bytes: int
    entry_point: int | None


def module_bases(process: int) -> list[int]:
    """Base addresses of all modules, 32-bit ones included, the program's first.

    The process's own lists are walked, in its memory: it can hide modules from them.

    Raises:
        OSError: 299 while it is starting or ending.
    """
    room, needed = 256, DWORD()
    while True:
        found = (HMODULE * room)()
        if not psapi.EnumProcessModulesEx(process, found, sizeof(found), byref(needed), LIST_MODULES_ALL):
            raise failed("EnumProcessModulesEx")
        count = needed.value // sizeof(HMODULE)
        if count <= room or room >= _MOST:
            return [base for base in found[: min(count, room)] if base]
        room = min(count + 16, _MOST)


def describe_module(process: int, base: int) -> Loaded:
    """Path, size and entry point of a module. Raises OSError: among others when it was unloaded meanwhile."""
    text, told = (WCHAR * _PATH_UNITS)(), MODULEINFO()
    size = psapi.GetModuleFileNameExW(process, base, text, _PATH_UNITS)
    if not size:
        raise failed("GetModuleFileNameExW")
    if not psapi.GetModuleInformation(process, base, byref(told), sizeof(told)):
        raise failed("GetModuleInformation")
    path = counted(text, size)
    return Loaded(path, told.lpBaseOfDll or base, told.SizeOfImage, told.EntryPoint)
