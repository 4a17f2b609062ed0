"""Where Windows itself is installed (kernel32)."""

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import POINTER, UINT, WCHAR, wide

_UNITS = 1024

SIGNATURES = {"GetSystemWindowsDirectoryW": (UINT, (POINTER(WCHAR), UINT))}
kernel32 = Library("kernel32", SIGNATURES)


def system_root() -> str:
    r"""Such as ``C:\Windows``: the system's own answer, which no variable of an environment changes.

    Raises:
        SystemRefused
    """
    units = (WCHAR * _UNITS)()
    if not 0 < kernel32.GetSystemWindowsDirectoryW(units, _UNITS) <= _UNITS:
        raise failed("GetSystemWindowsDirectoryW")
    return wide(units)
