"""The console (kernel32): what its screen understands, and the events that it sends to the programs on it."""

import ctypes
from collections.abc import Callable
from typing import Any

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, POINTER, PVOID

CTRL_C_EVENT = 0
CTRL_BREAK_EVENT = 1
CTRL_CLOSE_EVENT = 2
CTRL_LOGOFF_EVENT = 5
CTRL_SHUTDOWN_EVENT = 6
ENABLE_PROCESSED_OUTPUT = 0x0001
ENABLE_VIRTUAL_TERMINAL_PROCESSING = 0x0004
STD_OUTPUT_HANDLE = 2**32 - 11
STD_ERROR_HANDLE = 2**32 - 12

SIGNATURES = {
    "GetStdHandle": (HANDLE, (DWORD,)),
    "GetConsoleMode": (BOOL, (HANDLE, POINTER(DWORD))),
    "SetConsoleMode": (BOOL, (HANDLE, DWORD)),
    "SetConsoleCtrlHandler": (BOOL, (PVOID, BOOL)),
}
kernel32 = Library("kernel32", SIGNATURES)
_function: Any = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)
_HANDLER = _function(BOOL, DWORD)


def screen_mode(which: int) -> int | None:
    """What the screen behind a standard handle understands; None when no screen is behind it."""
    mode = DWORD()
    found = kernel32.GetConsoleMode(kernel32.GetStdHandle(which), ctypes.byref(mode))
    return mode.value if found else None


def set_screen_mode(which: int, mode: int) -> bool:
    """Whether the screen does so from now on."""
    return bool(kernel32.SetConsoleMode(kernel32.GetStdHandle(which), mode))


def add_handler(take: Callable[[int], bool]) -> Callable[[], None]:
    """Has Windows call `take` with each event, each time in a thread of its own.

    `take` says whether nobody else need see the event: the handler added before it, in the end the one that ends the
    program.

    Returns:
        What ends it.

    Raises:
        SystemRefused: Windows takes no handler.
    """
    handler = _HANDLER(lambda event: int(take(event)))
    address = ctypes.cast(handler, PVOID)
    if not kernel32.SetConsoleCtrlHandler(address, True):
        raise failed("SetConsoleCtrlHandler")

    def remove(kept: Any = handler) -> None:
        kernel32.SetConsoleCtrlHandler(address, False)

    return remove
