"""The Host Compute Service, which runs containers and virtual machines (vmcompute.dll, Windows 10 1607)."""

from ctypes import byref, c_void_p, cast

from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.types import HANDLE, HRESULT, LPCWSTR, POINTER, PVOID, WCHAR

_MAX_UNITS = 1 << 23

_WHERE = "hcsshim internal/vmcompute (Microsoft); no public header declares vmcompute.dll"
NOT_IN_HEADERS = {
    "HcsEnumerateComputeSystems": _WHERE,
    "HcsOpenComputeSystem": _WHERE,
    "HcsGetComputeSystemProperties": _WHERE,
    "HcsCloseComputeSystem": _WHERE,
}
SIGNATURES = {
    "HcsEnumerateComputeSystems": (HRESULT, (LPCWSTR, POINTER(PVOID), POINTER(PVOID))),
    "HcsOpenComputeSystem": (HRESULT, (LPCWSTR, POINTER(HANDLE), POINTER(PVOID))),
    "HcsGetComputeSystemProperties": (HRESULT, (HANDLE, LPCWSTR, POINTER(PVOID), POINTER(PVOID))),
    "HcsCloseComputeSystem": (HRESULT, (HANDLE,)),
    "CoTaskMemFree": (None, (PVOID,)),
}
vmcompute = Library("vmcompute", SIGNATURES)
_ole32 = Library("ole32", SIGNATURES)


def enumerate_systems() -> bytes:
    """All compute systems: JSON, in UTF-16.

    Needs: an administrator, or Hyper-V Administrators.

    Raises:
        SystemRefused
        Unsupported: there is no such service on this Windows.
    """
    told, result = PVOID(), PVOID()
    code = vmcompute.HcsEnumerateComputeSystems("{}", byref(told), byref(result))
    return _taken("HcsEnumerateComputeSystems", code, told, result)


def properties(identifier: str, query: str) -> bytes:
    """Properties of one compute system: JSON, in UTF-16. Needs and raises as above."""
    system, told, result = HANDLE(), PVOID(), PVOID()
    code = vmcompute.HcsOpenComputeSystem(identifier, byref(system), byref(result))
    _taken("HcsOpenComputeSystem", code, PVOID(), result)
    try:
        result = PVOID()
        code = vmcompute.HcsGetComputeSystemProperties(system, query, byref(told), byref(result))
        return _taken("HcsGetComputeSystemProperties", code, told, result)
    finally:
        vmcompute.HcsCloseComputeSystem(system)


def _taken(call: str, code: int, told: c_void_p, result: c_void_p) -> bytes:
    """The text, as a copy; both buffers are given back whatever happened."""
    try:
        if code < 0:
            raise SystemRefused(call, _code(code & 0xFFFFFFFF))
        return _copied(told) if told.value else b""
    finally:
        for buffer in (told, result):
            if buffer.value:
                _ole32.CoTaskMemFree(buffer)


def _copied(text: c_void_p) -> bytes:
    units, length = cast(text, POINTER(WCHAR)), 0
    while length < _MAX_UNITS and units[length]:
        length += 1
    return bytes(cast(text, POINTER(WCHAR * length)).contents) if length else b""


def _code(result: int) -> int:
    """HRESULTs of Win32 errors (0x8007…) as those errors."""
    return result & 0xFFFF if result >> 16 == 0x8007 else result
