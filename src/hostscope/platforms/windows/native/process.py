"""What Windows tells about one process through its handle (kernel32, psapi, user32)."""

from ctypes import Structure, byref, sizeof

from hostscope.errors import Unsupported
from hostscope.platforms.windows.native.library import Library, SystemRefused, failed, last_error, set_last_error
from hostscope.platforms.windows.native.structures import FILETIME, IO_COUNTERS
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    INT,
    LONG,
    POINTER,
    PVOID,
    USHORT,
    WCHAR,
    counted,
)

PROCESS_NAME_NATIVE = 0x00000001
ProcessMachineTypeInfo = 9
GR_GDIOBJECTS = 0
GR_USEROBJECTS = 1
ERROR_INSUFFICIENT_BUFFER = 122
APPMODEL_ERROR_NO_PACKAGE = 15700
IMAGE_FILE_MACHINE_UNKNOWN = 0
IMAGE_FILE_MACHINE_I386 = 0x014C
IMAGE_FILE_MACHINE_ARMNT = 0x01C4
IMAGE_FILE_MACHINE_AMD64 = 0x8664
IMAGE_FILE_MACHINE_ARM64 = 0xAA64

_PATH_UNITS = 1024
_MOST_UNITS = 32_768
"""What a path can be long at most."""


class PROCESS_MACHINE_INFORMATION(Structure):
    _fields_ = [("ProcessMachine", USHORT), ("Res0", USHORT), ("MachineAttributes", INT)]


SIGNATURES = {
    "GetProcessTimes": (BOOL, (HANDLE, *(POINTER(FILETIME),) * 4)),
    "GetProcessIoCounters": (BOOL, (HANDLE, POINTER(IO_COUNTERS))),
    "GetProcessHandleCount": (BOOL, (HANDLE, POINTER(DWORD))),
    "GetPriorityClass": (DWORD, (HANDLE,)),
    "ProcessIdToSessionId": (BOOL, (DWORD, POINTER(DWORD))),
    "QueryFullProcessImageNameW": (BOOL, (HANDLE, DWORD, POINTER(WCHAR), POINTER(DWORD))),
    "IsWow64Process2": (BOOL, (HANDLE, POINTER(USHORT), POINTER(USHORT))),
    "GetProcessInformation": (BOOL, (HANDLE, INT, PVOID, DWORD)),
    "GetPackageFullName": (LONG, (HANDLE, POINTER(DWORD), POINTER(WCHAR))),
}
kernel32 = Library("kernel32", SIGNATURES)

PSAPI_SIGNATURES = {
    "EnumProcesses": (BOOL, (POINTER(DWORD), DWORD, POINTER(DWORD))),
}
psapi = Library("psapi", PSAPI_SIGNATURES)

USER32_SIGNATURES = {"GetGuiResources": (DWORD, (HANDLE, DWORD))}
user32 = Library("user32", USER32_SIGNATURES)


def times(process: int) -> tuple[int, int, int, int]:
    """When it was created and when it ended (FILETIME, 0 while it runs), kernel and user time in 100 ns.

    Raises:
        OSError
    """
    created, ended, kernel, user = FILETIME(), FILETIME(), FILETIME(), FILETIME()
    if not kernel32.GetProcessTimes(process, byref(created), byref(ended), byref(kernel), byref(user)):
        raise failed("GetProcessTimes")
    return _number(created), _number(ended), _number(kernel), _number(user)


def created(process: int) -> int:
    """When it was created (FILETIME). Raises OSError."""
    return times(process)[0]


def _number(time: FILETIME) -> int:
    high: int = time.dwHighDateTime
    low: int = time.dwLowDateTime
    return high << 32 | low


def io_counters(process: int) -> IO_COUNTERS:
    """Bytes and operations of all its input and output. Raises OSError."""
    found = IO_COUNTERS()
    if not kernel32.GetProcessIoCounters(process, byref(found)):
        raise failed("GetProcessIoCounters")
    return found


def handle_count(process: int) -> int:
    """Open handles. Raises OSError."""
    found = DWORD()
    if not kernel32.GetProcessHandleCount(process, byref(found)):
        raise failed("GetProcessHandleCount")
    return found.value


def session_of(pid: int) -> int:
    """Terminal session; needs no handle. Raises OSError."""
    found = DWORD()
    if not kernel32.ProcessIdToSessionId(pid, byref(found)):
        raise failed("ProcessIdToSessionId")
    return found.value


def priority_class(process: int) -> int:
    """One of the ``*_PRIORITY_CLASS`` numbers. Raises OSError."""
    found: int = kernel32.GetPriorityClass(process)
    if not found:
        raise failed("GetPriorityClass")
    return found


def image_name(process: int, flags: int = 0) -> str:
    """The executable's path, by its drive, or by its device with `PROCESS_NAME_NATIVE`. Raises OSError."""
    units, size = _PATH_UNITS, DWORD()
    while True:
        text = (WCHAR * units)()
        size.value = units
        if kernel32.QueryFullProcessImageNameW(process, flags, text, byref(size)):
            return counted(text, size.value)
        refused = failed("QueryFullProcessImageNameW")
        if refused.winerror != ERROR_INSUFFICIENT_BUFFER or units >= _MOST_UNITS:
            raise refused
        units = _MOST_UNITS


def machines(process: int) -> tuple[int, int]:
    """The machine that WOW64 emulates for it (0 for none), and this computer's: ``IMAGE_FILE_MACHINE_*``.

    Raises:
        Unsupported: before Windows 10. OSError
    """
    emulated, native = USHORT(), USHORT()
    if not kernel32.IsWow64Process2(process, byref(emulated), byref(native)):
        raise failed("IsWow64Process2")
    return emulated.value, native.value


def machine_of_code(process: int) -> int:
    """The machine of its program; on ARM64 the only way to tell x64 from native code.

    Raises:
        Unsupported: before Windows 11. OSError
    """
    found = PROCESS_MACHINE_INFORMATION()
    if not kernel32.GetProcessInformation(process, ProcessMachineTypeInfo, byref(found), sizeof(found)):
        raise failed("GetProcessInformation")
    machine: int = found.ProcessMachine
    return machine


def package_name(process: int) -> str | None:
    """Full name of its package; None when it is in none. Raises OSError, Unsupported."""
    units, size = (WCHAR * 256)(), DWORD(256)
    code = kernel32.GetPackageFullName(process, byref(size), units)
    if code == APPMODEL_ERROR_NO_PACKAGE:
        return None
    if code:
        raise SystemRefused("GetPackageFullName", code)
    return counted(units, size.value).rstrip("\0")


def gui_objects(process: int, kind: int) -> int:
    """Objects of the kind (`GR_GDIOBJECTS`, `GR_USEROBJECTS`) that it holds.

    Raises:
        OSError: zero, and an error was left behind.
    """
    set_last_error(0)
    found: int = user32.GetGuiResources(process, kind)
    if not found and last_error():
        raise failed("GetGuiResources")
    return found


def listed_pids() -> list[int]:
    """The pids that EnumProcesses gives. Raises OSError, Unsupported: more than a million."""
    needed, room = DWORD(), 4096
    while room <= 1 << 20:
        pids = (DWORD * room)()
        if not psapi.EnumProcesses(pids, sizeof(pids), byref(needed)):
            raise failed("EnumProcesses")
        count = needed.value // sizeof(DWORD)
        if count < room:
            return list(pids[:count])
        room *= 4  # it fills what there is, and does not say how much more there would be
    raise Unsupported("EnumProcesses lists more than a million processes")
