"""What this Wine lacks is found out by calling it; the skip says which call and what it answered."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hostscope.errors import Unsupported
from hostscope.platforms.windows.native.library import Library
from hostscope.platforms.windows.native.types import LPCSTR

NOT_THERE = {
    50: "ERROR_NOT_SUPPORTED",
    120: "ERROR_CALL_NOT_IMPLEMENTED",
    127: "ERROR_PROC_NOT_FOUND",
    10043: "WSAEPROTONOSUPPORT",
    10045: "WSAEOPNOTSUPP",
    0x80004001: "E_NOTIMPL",
    0xC0000002: "STATUS_NOT_IMPLEMENTED",
    0xC0000003: "STATUS_INVALID_INFO_CLASS",
    0xC00000BB: "STATUS_NOT_SUPPORTED",
}
_ntdll = Library("ntdll", {"wine_get_version": (LPCSTR, ())})


def wine_version() -> str | None:
    """Of the Wine that we run on; None on a real Windows."""
    try:
        version: bytes = _ntdll.wine_get_version()
    except Unsupported:
        return None
    return version.decode()


@contextmanager
def unless_missing(*codes: int) -> Iterator[None]:
    """Skips the test when a call in the block is one that Wine lacks: no such export, or an error that says so.

    `codes` are further errors that mean "missing" of the call at hand, when Wine gives a misleading one. On a real
    Windows nothing is skipped.
    """
    try:
        yield
    except Unsupported as missing:
        if wine_version() is None:
            raise
        pytest.skip(f"Wine lacks it: {missing}")
    except OSError as refused:
        code = getattr(refused, "winerror", None)
        if wine_version() is None or code is None or (code not in NOT_THERE and code not in codes):
            raise
        pytest.skip(f"Wine lacks it: {refused.strerror} ({NOT_THERE.get(code, hex(code))})")


def skip_missing(call: str, answer: str) -> None:
    """Skips a test of what Wine has but answers with nothing (zeros, a handle that leads nowhere); not on Windows."""
    if wine_version() is not None:
        pytest.skip(f"Wine's {call} {answer}")
