"""A dynamic library whose functions are bound by their signatures when they are first called."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from hostscope.errors import Unsupported
from hostscope.platforms.macos.native import errnos

Signature = tuple[Any, tuple[Any, ...]]
"""Result type and argument types."""

LIBSYSTEM = "/usr/lib/libSystem.B.dylib"


class Library:
    """Functions of one library, as attributes."""

    def __init__(self, path: str, signatures: Mapping[str, Signature]) -> None:
        self.path = path
        """Tests set it, before the first call, to a library that they built."""
        self.signatures = signatures
        self._loaded: Any = None

    def __getattr__(self, function: str) -> Callable[..., Any]:
        if function.startswith("_") or function not in self.signatures:
            raise AttributeError(f"{self.path} has no signature of {function}")
        bound = self._bind(function)
        setattr(self, function, bound)
        return bound

    def _bind(self, function: str) -> Callable[..., Any]:
        result, arguments = self.signatures[function]
        try:
            bound: Any = getattr(self._load(), function)
        except (AttributeError, OSError) as missing:
            raise Unsupported(f"{self.path} has no {function} here", "another macOS has it") from missing
        bound.restype, bound.argtypes = result, list(arguments)
        return bound  # type: ignore[no-any-return]

    def _load(self) -> Any:
        if self._loaded is None:
            self._loaded = ctypes.CDLL(self.path, use_errno=True)
        return self._loaded


def failed(call: str) -> OSError:
    """The error of a call that has just failed, with Darwin's number."""
    code = ctypes.get_errno()
    return errnos.error(code, f"{call}: {errnos.text(code)}")


def clear_errno() -> None:
    """Before calls that tell an empty answer from a failure by errno only."""
    ctypes.set_errno(0)
