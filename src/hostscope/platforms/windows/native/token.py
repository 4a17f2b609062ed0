"""Access tokens (advapi32): opened, asked, adjusted; names of their SIDs and privileges."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import Array, Structure, addressof, byref, c_char, create_string_buffer, sizeof, string_at
from typing import Any, NamedTuple

from hostscope.platforms.windows.native.handles import kernel32
from hostscope.platforms.windows.native.library import Library, failed, last_error, set_last_error
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    LARGE_INTEGER,
    LONG,
    LPCWSTR,
    POINTER,
    PSID,
    PVOID,
    WCHAR,
    wide,
)

TOKEN_DUPLICATE = 0x0002
TOKEN_IMPERSONATE = 0x0004
TOKEN_QUERY = 0x0008
TOKEN_ADJUST_PRIVILEGES = 0x0020

TokenUser = 1
TokenGroups = 2
TokenPrivileges = 3
TokenStatistics = 10
TokenRestrictedSids = 11
TokenElevationType = 18
TokenLinkedToken = 19
TokenElevation = 20
TokenVirtualizationEnabled = 24
TokenIntegrityLevel = 25
TokenUIAccess = 26
TokenIsAppContainer = 29
TokenCapabilities = 30
TokenAppContainerSid = 31

SE_PRIVILEGE_ENABLED_BY_DEFAULT = 0x00000001
SE_PRIVILEGE_ENABLED = 0x00000002
SE_PRIVILEGE_REMOVED = 0x00000004

SE_GROUP_MANDATORY = 0x00000001
SE_GROUP_ENABLED_BY_DEFAULT = 0x00000002
SE_GROUP_ENABLED = 0x00000004
SE_GROUP_OWNER = 0x00000008
SE_GROUP_USE_FOR_DENY_ONLY = 0x00000010
SE_GROUP_INTEGRITY = 0x00000020
SE_GROUP_INTEGRITY_ENABLED = 0x00000040
SE_GROUP_RESOURCE = 0x20000000
SE_GROUP_LOGON_ID = 0xC0000000

ERROR_BAD_LENGTH = 24
ERROR_INSUFFICIENT_BUFFER = 122
ERROR_NO_TOKEN = 1008
ERROR_NOT_ALL_ASSIGNED = 1300
ERROR_NO_SUCH_LOGON_SESSION = 1312
ERROR_NO_SUCH_PRIVILEGE = 1313
ERROR_NONE_MAPPED = 1332
ERROR_CANT_OPEN_ANONYMOUS = 1347


class LUID(Structure):
    """A number that means something until the next boot."""

    _fields_ = (("LowPart", DWORD), ("HighPart", LONG))


class LUID_AND_ATTRIBUTES(Structure):
    """One privilege."""

    _fields_ = (("Luid", LUID), ("Attributes", DWORD))


class TOKEN_PRIVILEGES(Structure):
    """As many privileges as it says; the header declares one."""

    _fields_ = (("PrivilegeCount", DWORD), ("Privileges", LUID_AND_ATTRIBUTES * 1))


class SID_AND_ATTRIBUTES(Structure):
    """A SID elsewhere in the same buffer."""

    _fields_ = (("Sid", PSID), ("Attributes", DWORD))


class TOKEN_USER(Structure):
    """Whose token it is."""

    _fields_ = (("User", SID_AND_ATTRIBUTES),)


class TOKEN_GROUPS(Structure):
    """As many groups as it says; the header declares one."""

    _fields_ = (("GroupCount", DWORD), ("Groups", SID_AND_ATTRIBUTES * 1))


class TOKEN_MANDATORY_LABEL(Structure):
    """The integrity level: the last part of its SID."""

    _fields_ = (("Label", SID_AND_ATTRIBUTES),)


class TOKEN_ELEVATION(Structure):
    """Whether UAC raised it, or had no need to."""

    _fields_ = (("TokenIsElevated", DWORD),)


class TOKEN_LINKED_TOKEN(Structure):
    """The other half of a split logon: a handle that the caller closes."""

    _fields_ = (("LinkedToken", HANDLE),)


class TOKEN_APPCONTAINER_INFORMATION(Structure):
    """The AppContainer's SID, or NULL."""

    _fields_ = (("TokenAppContainer", PSID),)


class TOKEN_STATISTICS(Structure):
    """Which token and which logon session."""

    _fields_ = (
        ("TokenId", LUID),
        ("AuthenticationId", LUID),
        ("ExpirationTime", LARGE_INTEGER),
        ("TokenType", INT),
        ("ImpersonationLevel", INT),
        ("DynamicCharged", DWORD),
        ("DynamicAvailable", DWORD),
        ("GroupCount", DWORD),
        ("PrivilegeCount", DWORD),
        ("ModifiedId", LUID),
    )


SIGNATURES = {
    "OpenProcessToken": (BOOL, (HANDLE, DWORD, POINTER(HANDLE))),
    "OpenThreadToken": (BOOL, (HANDLE, DWORD, BOOL, POINTER(HANDLE))),
    "GetTokenInformation": (BOOL, (HANDLE, INT, PVOID, DWORD, POINTER(DWORD))),
    "AdjustTokenPrivileges": (
        BOOL,
        (HANDLE, BOOL, POINTER(TOKEN_PRIVILEGES), DWORD, POINTER(TOKEN_PRIVILEGES), POINTER(DWORD)),
    ),
    "LookupAccountSidW": (
        BOOL,
        (LPCWSTR, PSID, POINTER(WCHAR), POINTER(DWORD), POINTER(WCHAR), POINTER(DWORD), POINTER(INT)),
    ),
    "LookupPrivilegeNameW": (BOOL, (LPCWSTR, POINTER(LUID), POINTER(WCHAR), POINTER(DWORD))),
    "LookupPrivilegeValueW": (BOOL, (LPCWSTR, LPCWSTR, POINTER(LUID))),
}
advapi32 = Library("advapi32", SIGNATURES)

_USUAL_BYTES = 8192
_MAX_BYTES = 1 << 20
"""A token has at most 1024 groups of 84 bytes."""
_NAME_UNITS = 512
"""Accounts have at most 256 characters, domains 255."""


class Answer(NamedTuple):
    """What GetTokenInformation wrote. Pointers in `raw` count from `base`, the address where it was written."""

    raw: bytes
    base: int


class _Buffer(threading.local):
    """One buffer for each thread, always at one address: equal answers are equal bytes, pointers included."""

    def __init__(self) -> None:
        self.bytes: Array[c_char] = create_string_buffer(_USUAL_BYTES)
        self.address = addressof(self.bytes)
        self.written = DWORD()


_buffer = _Buffer()


@contextmanager
def opened_token(process: int, access: int = TOKEN_QUERY) -> Iterator[int]:
    """The primary token of a process, for the block.

    Needs: PROCESS_QUERY_LIMITED_INFORMATION on the handle; the token's own list says who may query it.

    Raises:
        SystemRefused
    """
    found = HANDLE()
    if not advapi32.OpenProcessToken(process, access, byref(found)):
        raise failed("OpenProcessToken")
    with _closing(found) as token:
        yield token


@contextmanager
def opened_thread_token(thread: int, access: int = TOKEN_QUERY) -> Iterator[int]:
    """The token that a thread runs with instead of its process's, for the block.

    Raises:
        SystemRefused: 1008 when it has none.
    """
    found = HANDLE()
    if not advapi32.OpenThreadToken(thread, access, True, byref(found)):
        raise failed("OpenThreadToken")
    with _closing(found) as token:
        yield token


@contextmanager
def opened_own(access: int = TOKEN_QUERY) -> Iterator[int]:
    """Our own primary token, for the block. Raises as `opened_token`."""
    with opened_token(kernel32.GetCurrentProcess(), access) as token:
        yield token


def read_information(token: int, kind: int) -> Answer:
    """One class of information; a buffer that is too small is grown.

    Raises:
        SystemRefused

    Cost: one call; two for what is larger than 8 KiB.
    """
    held = _buffer
    if advapi32.GetTokenInformation(token, kind, held.bytes, _USUAL_BYTES, byref(held.written)):
        return Answer(string_at(held.address, min(held.written.value, _USUAL_BYTES)), held.address)
    if last_error() != ERROR_INSUFFICIENT_BUFFER or not _USUAL_BYTES < held.written.value <= _MAX_BYTES:
        raise failed("GetTokenInformation")
    larger = create_string_buffer(held.written.value)
    if not advapi32.GetTokenInformation(token, kind, larger, len(larger), byref(held.written)):
        raise failed("GetTokenInformation")
    base = addressof(larger)
    return Answer(string_at(base, min(held.written.value, len(larger))), base)


def has_linked(token: int) -> bool:
    """Whether the logon has another half. Its handle is closed at once.

    Raises:
        SystemRefused
    """
    found = TOKEN_LINKED_TOKEN()
    if not advapi32.GetTokenInformation(token, TokenLinkedToken, byref(found), sizeof(found), byref(DWORD())):
        if last_error() == ERROR_NO_SUCH_LOGON_SESSION:
            return False
        raise failed("GetTokenInformation")
    if found.LinkedToken:
        kernel32.CloseHandle(found.LinkedToken)
    return bool(found.LinkedToken)


def account_name(sid: bytes) -> str | None:
    """``DOMAIN\\name`` of a SID; None when nothing knows it.

    Raises:
        SystemRefused: such as 1789 when the domain's controller cannot be asked.

    Cost: one call to the local authority; for accounts of a domain perhaps one over the network.
    """
    name, domain = (WCHAR * _NAME_UNITS)(), (WCHAR * _NAME_UNITS)()
    sizes, use = (DWORD(_NAME_UNITS), DWORD(_NAME_UNITS)), INT()
    where = create_string_buffer(sid, len(sid))
    if not advapi32.LookupAccountSidW(None, where, name, byref(sizes[0]), domain, byref(sizes[1]), byref(use)):
        if last_error() == ERROR_NONE_MAPPED:
            return None
        raise failed("LookupAccountSidW")
    return "\\".join(part for part in (wide(domain), wide(name)) if part)


def privilege_name(low: int, high: int) -> str | None:
    """The name of a privilege; None when this Windows knows none for the number."""
    units, size = (WCHAR * _NAME_UNITS)(), DWORD(_NAME_UNITS)
    if not advapi32.LookupPrivilegeNameW(None, byref(LUID(low, high)), units, byref(size)):
        if last_error() == ERROR_NO_SUCH_PRIVILEGE:
            return None
        raise failed("LookupPrivilegeNameW")
    return wide(units)


def privilege_number(name: str) -> tuple[int, int]:
    """Low and high part of a privilege's LUID.

    Raises:
        SystemRefused: 1313 when there is no such privilege.
    """
    found = LUID()
    if not advapi32.LookupPrivilegeValueW(None, name, byref(found)):
        raise failed("LookupPrivilegeValueW")
    return found.LowPart, found.HighPart


def set_privilege(token: int, number: tuple[int, int], enabled: bool) -> bool:
    """Enables or disables one privilege of a token; whether the token has it.

    Needs: TOKEN_ADJUST_PRIVILEGES.

    Raises:
        SystemRefused
    """
    wanted = TOKEN_PRIVILEGES(1)
    wanted.Privileges[0].Luid = LUID(*number)
    wanted.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED if enabled else 0
    return _adjust(token, wanted)


def remove_privilege(token: int, number: tuple[int, int]) -> bool:
    """Takes one privilege away from a token, for good; whether the token had it. Needs and raises as above."""
    wanted = TOKEN_PRIVILEGES(1)
    wanted.Privileges[0].Luid = LUID(*number)
    wanted.Privileges[0].Attributes = SE_PRIVILEGE_REMOVED
    return _adjust(token, wanted)


def _adjust(token: int, wanted: TOKEN_PRIVILEGES) -> bool:
    set_last_error(0)
    if not advapi32.AdjustTokenPrivileges(token, False, byref(wanted), 0, None, None):
        raise failed("AdjustTokenPrivileges")
    return last_error() != ERROR_NOT_ALL_ASSIGNED  # a success that changed nothing


@contextmanager
def _closing(found: Any) -> Iterator[int]:
    try:
        yield found.value
    finally:
        kernel32.CloseHandle(found.value)
