"""What the session service (Remote Desktop Services) tells of processes (wtsapi32)."""

from collections.abc import Iterator
from ctypes import Structure, byref, string_at
from typing import NamedTuple

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, POINTER, PVOID, WCHAR

WTS_CURRENT_SERVER_HANDLE = 0
_VERSION = 1
_SID_HEAD, _SID_PART, _MOST_PARTS = 8, 4, 15


class WTS_PROCESS_INFOW(Structure):
    """One process; its texts and SID stand behind all entries."""

    _fields_ = (("SessionId", DWORD), ("ProcessId", DWORD), ("pProcessName", POINTER(WCHAR)), ("pUserSid", PVOID))


SIGNATURES = {
    "WTSEnumerateProcessesW": (
        BOOL, (HANDLE, DWORD, DWORD, POINTER(POINTER(WTS_PROCESS_INFOW)), POINTER(DWORD)),
    ),
    "WTSFreeMemory": (None, (PVOID,)),
}  # fmt: skip
wtsapi32 = Library("wtsapi32", SIGNATURES)


class Owned(NamedTuple):
    """Whose a process is."""

    pid: int
    session: int
    sid: bytes | None
    """None: the service does not say, because we are no administrator or there is no user."""


def owned_processes() -> list[Owned]:
    """Every process with its user, by a service that may open what we may not.

    Raises:
        SystemRefused: such as 1722, the service does not run.
        Unsupported: this Windows has no such service.
    """
    found, count = POINTER(WTS_PROCESS_INFOW)(), DWORD()
    if not wtsapi32.WTSEnumerateProcessesW(WTS_CURRENT_SERVER_HANDLE, 0, _VERSION, byref(found), byref(count)):
        raise failed("WTSEnumerateProcessesW")
    try:
        return list(_entries(found, count.value))
    finally:
        wtsapi32.WTSFreeMemory(found)


def _entries(found: "POINTER[WTS_PROCESS_INFOW]", count: int) -> Iterator[Owned]:  # type: ignore[valid-type]
    for entry in found[:count]:  # type: ignore[index]
        yield Owned(entry.ProcessId, entry.SessionId, _sid_at(entry.pUserSid) if entry.pUserSid else None)


def _sid_at(address: int) -> bytes:
    """A SID says itself how many parts it has."""
    parts = min(string_at(address, 2)[1], _MOST_PARTS)
    return string_at(address, _SID_HEAD + _SID_PART * parts)
