"""Structures that calls of several libraries share."""

from ctypes import Structure

from hostscope.platforms.windows.native.types import DWORD, ULONGLONG


class FILETIME(Structure):
    """100 ns since 1601."""

    _fields_ = (("dwLowDateTime", DWORD), ("dwHighDateTime", DWORD))


class IO_COUNTERS(Structure):
    """Operations and bytes of a process, or of all processes of a job."""

    _fields_ = (
        ("ReadOperationCount", ULONGLONG),
        ("WriteOperationCount", ULONGLONG),
        ("OtherOperationCount", ULONGLONG),
        ("ReadTransferCount", ULONGLONG),
        ("WriteTransferCount", ULONGLONG),
        ("OtherTransferCount", ULONGLONG),
    )
