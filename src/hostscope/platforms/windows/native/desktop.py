"""Top-level windows of the desktop that we are on (user32): what they are called, and asking them to close."""

import ctypes
from typing import Any, NamedTuple

from hostscope.platforms.windows.native.library import Library, failed, last_error, set_last_error
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    LPARAM,
    POINTER,
    PVOID,
    SIZE_T,
    UINT,
    WCHAR,
    counted,
)

WM_CLOSE = 0x0010
GW_OWNER = 4
_TITLE_UNITS = 512
_CLASS_UNITS = 257
_MOST = 1 << 16

_function: Any = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)
_each = _function(BOOL, HANDLE, LPARAM)

SIGNATURES = {
    "EnumWindows": (BOOL, (PVOID, LPARAM)),
    "GetWindowThreadProcessId": (DWORD, (HANDLE, POINTER(DWORD))),
    "GetWindowTextW": (INT, (HANDLE, POINTER(WCHAR), INT)),
    "GetClassNameW": (INT, (HANDLE, POINTER(WCHAR), INT)),
    "IsWindowVisible": (BOOL, (HANDLE,)),
    "GetWindow": (HANDLE, (HANDLE, UINT)),
    "PostMessageW": (BOOL, (HANDLE, UINT, SIZE_T, LPARAM)),
}
user32 = Library("user32", SIGNATURES)


class Shown(NamedTuple):
    """One window."""

    handle: int
    title: str
    window_class: str
    visible: bool
    tid: int


def windows_of(pid: int) -> list[Shown]:
    """The top-level windows of a process, topmost first.

    Asking another process's window for its title sends it no message: the system keeps a copy, so nothing hangs.

    Raises:
        OSError: we are on no desktop.
    """
    return [_describe(window, tid) for window, tid in _found(pid)]


def ask_to_close(pid: int) -> bool:
    """Puts WM_CLOSE into the queues of a process's top-level windows that no other window owns; whether any took it.

    Raises:
        OSError: we are on no desktop.
    """
    free = [window for window, _ in _found(pid) if not user32.GetWindow(window, GW_OWNER)]
    return sum(bool(user32.PostMessageW(window, WM_CLOSE, 0, 0)) for window in free) > 0


def _found(pid: int) -> list[tuple[int, int]]:
    """Windows of a process, and their threads. Raises OSError."""
    found: list[tuple[int, int]] = []

    def look(window: int, _: int) -> int:
        owner = DWORD()
        tid = user32.GetWindowThreadProcessId(window, ctypes.byref(owner))
        if owner.value == pid:
            found.append((window, tid))
        return int(len(found) < _MOST)

    callback = _each(look)
    set_last_error(0)
    if not user32.EnumWindows(ctypes.cast(callback, ctypes.c_void_p), 0) and last_error() and not found:
        raise failed("EnumWindows")
    return found


def _describe(window: int, tid: int) -> Shown:
    title, kind = (WCHAR * _TITLE_UNITS)(), (WCHAR * _CLASS_UNITS)()
    title_size = user32.GetWindowTextW(window, title, _TITLE_UNITS)
    kind_size = user32.GetClassNameW(window, kind, _CLASS_UNITS)
    return Shown(
        window,
        counted(title, title_size),
        counted(kind, kind_size),
        bool(user32.IsWindowVisible(window)),
        tid,
    )
