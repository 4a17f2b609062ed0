"""Top-level windows, which is how a program with windows is asked to end (user32)."""

import ctypes
from typing import Any

from hostscope.platforms.windows.native.library import Library
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, LONGLONG, POINTER, PVOID, SIZE_T, UINT

WM_CLOSE = 0x0010
GW_OWNER = 4

_function: Any = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)
_each = _function(BOOL, HANDLE, LONGLONG)

SIGNATURES = {
    "EnumWindows": (BOOL, (PVOID, LONGLONG)),
    "GetWindowThreadProcessId": (DWORD, (HANDLE, POINTER(DWORD))),
    "GetWindow": (HANDLE, (HANDLE, UINT)),
    "PostMessageW": (BOOL, (HANDLE, UINT, SIZE_T, LONGLONG)),
}
user32 = Library("user32", SIGNATURES)


def top_windows(pid: int) -> list[int]:
    """Windows of a process on our desktop that no other window owns."""
    found: list[int] = []

    def look(window: int, _: int) -> int:
        owner = DWORD()
        user32.GetWindowThreadProcessId(window, ctypes.byref(owner))
        if owner.value == pid and not user32.GetWindow(window, GW_OWNER):
            found.append(window)
        return 1

    callback = _each(look)
    user32.EnumWindows(ctypes.cast(callback, ctypes.c_void_p), 0)
    return found


def ask_to_close(window: int) -> bool:
    """Puts WM_CLOSE into the window's queue; whether it was taken."""
    return bool(user32.PostMessageW(window, WM_CLOSE, 0, 0))
