"""The registry (advapi32): keys opened to be read, values, subkeys, and waiting for changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, create_string_buffer

from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    LONG,
    LPCWSTR,
    POINTER,
    PVOID,
    WCHAR,
    wide,
)

KEY_QUERY_VALUE = 0x0001
KEY_ENUMERATE_SUB_KEYS = 0x0008
KEY_NOTIFY = 0x0010
KEY_WOW64_64KEY = 0x0100
REG_NOTIFY_CHANGE_NAME = 0x00000001
REG_NOTIFY_CHANGE_LAST_SET = 0x00000004
REG_NOTIFY_THREAD_AGNOSTIC = 0x10000000
ERROR_FILE_NOT_FOUND = 2
ERROR_MORE_DATA = 234
ERROR_NO_MORE_ITEMS = 259

_ROOTS = {"HKLM": 0xFFFFFFFF80000002, "HKCU": 0xFFFFFFFF80000001, "HKU": 0xFFFFFFFF80000003}
"""Handles of the roots: (LONG)0x8000000N, sign-extended."""
_KEY_UNITS, _VALUE_UNITS = 256, 16384
"""Names of keys have at most 255 characters, of values 16383."""
_USUAL_BYTES = 4096
_MAX_BYTES = 1 << 20

SIGNATURES = {
    "RegOpenKeyExW": (LONG, (HANDLE, LPCWSTR, DWORD, DWORD, POINTER(HANDLE))),
    "RegCloseKey": (LONG, (HANDLE,)),
    "RegQueryValueExW": (LONG, (HANDLE, LPCWSTR, POINTER(DWORD), POINTER(DWORD), PVOID, POINTER(DWORD))),
    "RegEnumKeyExW": (
        LONG,
        (HANDLE, DWORD, POINTER(WCHAR), POINTER(DWORD), PVOID, POINTER(WCHAR), POINTER(DWORD), PVOID),
    ),
    "RegEnumValueW": (
        LONG,
        (HANDLE, DWORD, POINTER(WCHAR), POINTER(DWORD), PVOID, POINTER(DWORD), PVOID, POINTER(DWORD)),
    ),
    "RegNotifyChangeKeyValue": (LONG, (HANDLE, BOOL, DWORD, HANDLE, BOOL)),
}
advapi32 = Library("advapi32", SIGNATURES)


@contextmanager
def opened_key(path: str, access: int = KEY_QUERY_VALUE | KEY_ENUMERATE_SUB_KEYS) -> Iterator[int]:
    r"""A key such as ``HKLM\SOFTWARE\…``, in the 64-bit view, for the block.

    Raises:
        SystemRefused: 2 when there is no such key.
    """
    root, _, below = path.partition("\\")
    found = HANDLE()
    code = advapi32.RegOpenKeyExW(_ROOTS[root], below, 0, access | KEY_WOW64_64KEY, byref(found))
    if code:
        raise SystemRefused("RegOpenKeyExW", code)
    try:
        yield found.value or 0
    finally:
        advapi32.RegCloseKey(found)


def read_value(key: int, name: str) -> tuple[int, bytes] | None:
    """Type and bytes of a value; None when the key has no value of that name.

    Raises:
        SystemRefused
    """
    size = _USUAL_BYTES
    while size <= _MAX_BYTES:
        kind, held, buffer = DWORD(), DWORD(size), create_string_buffer(size)
        code = advapi32.RegQueryValueExW(key, name, None, byref(kind), buffer, byref(held))
        if code == ERROR_MORE_DATA:
            size *= 4
            continue
        if code == ERROR_FILE_NOT_FOUND:
            return None
        if code:
            raise SystemRefused("RegQueryValueExW", code)
        return kind.value, buffer.raw[: held.value]
    raise SystemRefused("RegQueryValueExW", ERROR_MORE_DATA)


def subkeys(key: int) -> Iterator[str]:
    """Names of the subkeys.

    Raises:
        SystemRefused
    """
    return _names(key, "RegEnumKeyExW", _KEY_UNITS)


def value_names(key: int) -> Iterator[str]:
    """Names of the values.

    Raises:
        SystemRefused
    """
    return _names(key, "RegEnumValueW", _VALUE_UNITS)


def _names(key: int, call: str, room: int) -> Iterator[str]:
    index, ask = 0, getattr(advapi32, call)
    while True:
        units, size = (WCHAR * room)(), DWORD(room)
        code = ask(key, index, units, byref(size), None, None, None, None)
        if code == ERROR_NO_MORE_ITEMS:
            return
        if code:
            raise SystemRefused(call, code)
        yield wide(units)
        index += 1


def notify(key: int, event: int) -> None:
    """Sets `event` at the next change of the key's values, or of a key below it.

    Needs: KEY_NOTIFY. Source: RegNotifyChangeKeyValue; thread agnostic since Windows 8, so that the asking thread may
    end before.

    Raises:
        SystemRefused
    """
    wanted = REG_NOTIFY_CHANGE_NAME | REG_NOTIFY_CHANGE_LAST_SET | REG_NOTIFY_THREAD_AGNOSTIC
    code = advapi32.RegNotifyChangeKeyValue(key, True, wanted, event, True)
    if code:
        raise SystemRefused("RegNotifyChangeKeyValue", code)
