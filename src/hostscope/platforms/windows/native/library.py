"""DLLs, and what their calls say when they fail."""

import ctypes
from collections.abc import Callable
from typing import Any

from hostscope.platforms.functions import Functions


class Library(Functions):
    """Functions of one DLL."""

    elsewhere = "a later Windows has it"

    def load(self) -> Any:
        """See `Functions.load`."""
        loader = getattr(ctypes, "WinDLL", None)
        if loader is None:
            raise OSError(f"{self.name} is Windows'")
        return loader(self.name, use_last_error=True)


def last_error() -> int:
    """The error code of this thread's last failed call; tests script it."""
    get: Callable[[], int] | None = getattr(ctypes, "get_last_error", None)
    return get() if get else _scripted[0]


def set_last_error(code: int) -> None:
    """Sets what `last_error` gives next."""
    put: Callable[[int], int] | None = getattr(ctypes, "set_last_error", None)
    if put:
        put(code)
    _scripted[0] = code


_scripted = [0]


class SystemRefused(OSError):
    """A call that failed: with the code in `winerror`, on every system that runs this code."""

    winerror: int

    def __init__(self, call: str, code: int, text: str | None = None) -> None:
        super().__init__(code, text or f"{call} failed with error {code}")
        self.call = call
        self.winerror = code

    def __str__(self) -> str:
        return self.strerror or ""


def failed(call: str) -> SystemRefused:
    """The error of a call that has just failed, by this thread's last error."""
    return SystemRefused(call, last_error())


def failed_status(call: str, status: int) -> SystemRefused:
    """The error of a native call by its NTSTATUS (in `winerror`, unsigned)."""
    code = status & 0xFFFFFFFF
    return SystemRefused(call, code, f"{call} failed with NTSTATUS 0x{code:08X}")
