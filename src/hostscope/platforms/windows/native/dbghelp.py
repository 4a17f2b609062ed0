"""Windows' own writer of minidumps (dbghelp)."""

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, INT, PVOID

MiniDumpWithFullMemory = 0x00000002
MiniDumpWithHandleData = 0x00000004
MiniDumpWithFullMemoryInfo = 0x00000800
MiniDumpWithThreadInfo = 0x00001000
MiniDumpIgnoreInaccessibleMemory = 0x00020000

SIGNATURES = {"MiniDumpWriteDump": (BOOL, (HANDLE, DWORD, HANDLE, INT, PVOID, PVOID, PVOID))}
dbghelp = Library("dbghelp", SIGNATURES)


def handle_of(descriptor: int) -> int:
    """Windows' handle of an open file."""
    import msvcrt

    return msvcrt.get_osfhandle(descriptor)


def write_dump(process: int, pid: int, descriptor: int, kind: int) -> None:
    """Has Windows write a dump into an open file; it suspends the threads meanwhile. Raises OSError, Unsupported."""
    file = handle_of(descriptor)
    if not dbghelp.MiniDumpWriteDump(process, pid, file, kind, None, None, None):
        raise failed("MiniDumpWriteDump")
