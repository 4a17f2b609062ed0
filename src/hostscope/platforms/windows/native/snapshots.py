"""Copies of an address space as it is at one moment (kernel32, Windows 8.1 and later)."""

from ctypes import Structure, byref, sizeof

from hostscope.platforms.windows.native.handles import kernel32 as handles
from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.types import DWORD, HANDLE, INT, POINTER, PVOID

PSS_CAPTURE_VA_CLONE = 0x00000001
PSS_QUERY_VA_CLONE_INFORMATION = 1


class PSS_VA_CLONE_INFORMATION(Structure):
    _fields_ = (("VaCloneHandle", HANDLE),)


SIGNATURES = {
    "PssCaptureSnapshot": (DWORD, (HANDLE, INT, DWORD, POINTER(HANDLE))),
    "PssQuerySnapshot": (DWORD, (HANDLE, INT, PVOID, DWORD)),
    "PssFreeSnapshot": (DWORD, (HANDLE, HANDLE)),
}
kernel32 = Library("kernel32", SIGNATURES)


def capture(process: int) -> int:
    """A snapshot with a copy-on-write clone of the address space.

    Raises:
        Unsupported: this Windows has none. OSError
    """
    snapshot = HANDLE()
    code = kernel32.PssCaptureSnapshot(process, PSS_CAPTURE_VA_CLONE, 0, byref(snapshot))
    if code:
        raise SystemRefused("PssCaptureSnapshot", code)
    return snapshot.value or 0


def clone_of(snapshot: int) -> int:
    """The handle of the clone, which is the snapshot's. Raises OSError."""
    found = PSS_VA_CLONE_INFORMATION()
    code = kernel32.PssQuerySnapshot(snapshot, PSS_QUERY_VA_CLONE_INFORMATION, byref(found), sizeof(found))
    if code:
        raise SystemRefused("PssQuerySnapshot", code)
    return found.VaCloneHandle or 0


def free(snapshot: int) -> None:
    """Ends a snapshot and its clone."""
    kernel32.PssFreeSnapshot(handles.GetCurrentProcess(), snapshot)
