"""Top-level windows of the desktop that we are on (user32)."""

import ctypes
from typing import Any, NamedTuple

from hostscope.platforms.windows.native.library import Library, failed, last_error, set_last_error
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, INT, LPARAM, POINTER, PVOID, WCHAR, counted

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
    return [_describe(window, tid) for window, tid in found]


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
