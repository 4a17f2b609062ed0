"""Toolhelp's snapshots (kernel32): processes one by one."""

from collections.abc import Iterator
from ctypes import Structure, byref, sizeof
from typing import NamedTuple

from hostscope.model.text import decode_str
from hostscope.platforms.windows.native.handles import close
from hostscope.platforms.windows.native.library import Library, failed, last_error, set_last_error
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    INVALID_HANDLE_VALUE,
    LONG,
    POINTER,
    ULONG_PTR,
    WCHAR,
    wide,
)

TH32CS_SNAPPROCESS = 0x00000002
ERROR_NO_MORE_FILES = 18
MAX_PATH = 260


class PROCESSENTRY32W(Structure):
    _fields_ = [
        ("dwSize", DWORD),
        ("cntUsage", DWORD),
        ("th32ProcessID", DWORD),
        ("th32DefaultHeapID", ULONG_PTR),
        ("th32ModuleID", DWORD),
        ("cntThreads", DWORD),
        ("th32ParentProcessID", DWORD),
        ("pcPriClassBase", LONG),
        ("dwFlags", DWORD),
        ("szExeFile", WCHAR * MAX_PATH),
    ]


SIGNATURES = {
    "CreateToolhelp32Snapshot": (HANDLE, (DWORD, DWORD)),
    "Process32FirstW": (BOOL, (HANDLE, POINTER(PROCESSENTRY32W))),
    "Process32NextW": (BOOL, (HANDLE, POINTER(PROCESSENTRY32W))),
}
kernel32 = Library("kernel32", SIGNATURES)


class Entry(NamedTuple):
    """One process of a snapshot."""

    pid: int
    ppid: int
    name: str
    threads: int
    base_priority: int


def processes() -> Iterator[Entry]:
    """The processes of a snapshot, in its order. Raises OSError."""
    snapshot = kernel32.CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0)
    if snapshot in (None, INVALID_HANDLE_VALUE):
        raise failed("CreateToolhelp32Snapshot")
    try:
        yield from _entries(snapshot)
    finally:
        close(snapshot)


def _entries(snapshot: int) -> Iterator[Entry]:
    entry = PROCESSENTRY32W(sizeof(PROCESSENTRY32W))
    set_last_error(0)
    more = kernel32.Process32FirstW(snapshot, byref(entry))
    while more:
        yield Entry(
            entry.th32ProcessID,
            entry.th32ParentProcessID,
            decode_str(wide(entry.szExeFile)),
            entry.cntThreads,
            entry.pcPriClassBase,
        )
        more = kernel32.Process32NextW(snapshot, byref(entry))
    if last_error() not in (0, ERROR_NO_MORE_FILES):
        raise failed("Process32NextW")
