"""Apple's libraries, and what their calls say when they fail."""

import ctypes
from typing import Any

from hostscope.platforms.functions import Functions
from hostscope.platforms.macos.native import errnos

LIBSYSTEM = "/usr/lib/libSystem.B.dylib"


class Library(Functions):
    """Functions of one library; tests set its name, before the first call, to a library that they built."""

    elsewhere = "another macOS has it"

    def load(self) -> Any:
        """See `Functions.load`."""
        return ctypes.CDLL(self.name, use_errno=True)


def failed(call: str) -> OSError:
    """The error of a call that has just failed, with Darwin's number."""
    code = ctypes.get_errno()
    return errnos.error(code, f"{call}: {errnos.text(code)}")


def clear_errno() -> None:
    """Before calls that tell an empty answer from a failure by errno only."""
    ctypes.set_errno(0)
