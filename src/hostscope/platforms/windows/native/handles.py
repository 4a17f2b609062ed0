"""Handles of processes and threads (kernel32), closed with their block."""

from collections.abc import Iterator
from contextlib import contextmanager

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, POINTER

PROCESS_TERMINATE = 0x0001
PROCESS_VM_OPERATION = 0x0008
PROCESS_VM_READ = 0x0010
PROCESS_VM_WRITE = 0x0020
PROCESS_DUP_HANDLE = 0x0040
PROCESS_SET_INFORMATION = 0x0200
PROCESS_QUERY_INFORMATION = 0x0400
PROCESS_SUSPEND_RESUME = 0x0800
PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
SYNCHRONIZE = 0x00100000
THREAD_SUSPEND_RESUME = 0x0002
THREAD_GET_CONTEXT = 0x0008
THREAD_SET_CONTEXT = 0x0010
THREAD_QUERY_INFORMATION = 0x0040
THREAD_QUERY_LIMITED_INFORMATION = 0x0800
DUPLICATE_SAME_ACCESS = 0x00000002

SIGNATURES = {
    "OpenProcess": (HANDLE, (DWORD, BOOL, DWORD)),
    "OpenThread": (HANDLE, (DWORD, BOOL, DWORD)),
    "CloseHandle": (BOOL, (HANDLE,)),
    "GetCurrentProcess": (HANDLE, ()),
    "DuplicateHandle": (BOOL, (HANDLE, HANDLE, HANDLE, POINTER(HANDLE), DWORD, BOOL, DWORD)),
}
kernel32 = Library("kernel32", SIGNATURES)


def close(handle: int) -> None:
    """Closes a handle of ours."""
    kernel32.CloseHandle(handle)


@contextmanager
def opened(pid: int, access: int) -> Iterator[int]:
    """A handle of a process, for the block.

    Raises:
        SystemRefused: 5 when access is denied, 87 when no process has the pid.
    """
    handle = kernel32.OpenProcess(access, False, pid)
    if not handle:
        raise failed("OpenProcess")
    try:
        yield handle
    finally:
        close(handle)


@contextmanager
def opened_thread(tid: int, access: int) -> Iterator[int]:
    """A handle of a thread, for the block. Raises as `opened`."""
    handle = kernel32.OpenThread(access, False, tid)
    if not handle:
        raise failed("OpenThread")
    try:
        yield handle
    finally:
        close(handle)
