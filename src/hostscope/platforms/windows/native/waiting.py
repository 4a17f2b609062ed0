"""Events that can be waited for (kernel32)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hostscope.platforms.windows.native.control import WAIT_TIMEOUT
from hostscope.platforms.windows.native.handles import close
from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, LPCWSTR, POINTER, PVOID

WAIT_FAILED = 0xFFFFFFFF
MAXIMUM_WAIT_OBJECTS = 64

SIGNATURES = {
    "CreateEventW": (HANDLE, (PVOID, BOOL, BOOL, LPCWSTR)),
    "WaitForMultipleObjects": (DWORD, (DWORD, POINTER(HANDLE), BOOL, DWORD)),
}
kernel32 = Library("kernel32", SIGNATURES)


@contextmanager
def opened_event() -> Iterator[int]:
    """An event of our own that resets itself when a wait returns for it, for the block.

    Raises:
        SystemRefused
    """
    event = kernel32.CreateEventW(None, False, False, None)
    if not event:
        raise failed("CreateEventW")
    try:
        yield event
    finally:
        close(event)


def wait_any(handles: Sequence[int], timeout_ms: int) -> int | None:
    """The place of the first handle that is signalled; None when the time is up.

    Raises:
        SystemRefused
    """
    array = (HANDLE * len(handles))(*handles)
    answer = kernel32.WaitForMultipleObjects(len(handles), array, False, timeout_ms)
    if answer == WAIT_TIMEOUT:
        return None
    if answer == WAIT_FAILED:
        raise failed("WaitForMultipleObjects")
    return int(answer)
