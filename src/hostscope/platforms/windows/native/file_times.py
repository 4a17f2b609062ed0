"""The times that a file system keeps of a file (kernel32); Python's st_ctime is when it was made."""

from ctypes import Structure, byref

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, INT, LARGE_INTEGER, PVOID, sizeof
from hostscope.platforms.windows.native.wintrust import handle_of

FileBasicInfo = 0


class FILE_BASIC_INFO(Structure):
    """FILETIME, each; 0 where the file system keeps none."""

    _fields_ = (
        ("CreationTime", LARGE_INTEGER),
        ("LastAccessTime", LARGE_INTEGER),
        ("LastWriteTime", LARGE_INTEGER),
        ("ChangeTime", LARGE_INTEGER),
        ("FileAttributes", DWORD),
    )


SIGNATURES = {"GetFileInformationByHandleEx": (BOOL, (HANDLE, INT, PVOID, DWORD))}
kernel32 = Library("kernel32", SIGNATURES)


def change_time_of(fd: int) -> int:
    """When anything about an open file last changed: content, name, attributes or times.

    Raises:
        SystemRefused: it is no file that has times.
    """
    found = FILE_BASIC_INFO()
    if not kernel32.GetFileInformationByHandleEx(handle_of(fd), FileBasicInfo, byref(found), sizeof(found)):
        raise failed("GetFileInformationByHandleEx")
    return int(found.ChangeTime)
