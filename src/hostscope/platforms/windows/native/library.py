"""A DLL whose functions are bound by their signatures when they are first called."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from hostscope.errors import Unsupported

Signature = tuple[Any, tuple[Any, ...]]
"""Result type and argument types."""


class Library:
    """Functions of one DLL, as attributes. Tests set an attribute to script what Windows answers."""

    def __init__(self, name: str, signatures: Mapping[str, Signature]) -> None:
        self.name = name
        self.signatures = signatures
        self._loaded: Any = None

    def __getattr__(self, function: str) -> Callable[..., Any]:
        if function.startswith("_") or function not in self.signatures:
            raise AttributeError(f"{self.name} has no signature of {function}")
        bound = self._bind(function)
        setattr(self, function, bound)
        return bound

    def _bind(self, function: str) -> Callable[..., Any]:
        result, arguments = self.signatures[function]
        try:
            bound: Any = getattr(self._load(), function)
        except (AttributeError, OSError) as missing:
            raise Unsupported(f"{self.name} has no {function} here", "a later Windows has it") from missing
        bound.restype, bound.argtypes = result, list(arguments)
        return bound  # type: ignore[no-any-return]

    def _load(self) -> Any:
        if self._loaded is None:
            loader = getattr(ctypes, "WinDLL", None)
            if loader is None:
                raise OSError(f"{self.name} is Windows'")
            self._loaded = loader(self.name, use_last_error=True)
        return self._loaded


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
