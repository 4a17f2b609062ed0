"""Windows' scalar types, of the same width on every system: `ctypes.wintypes` has them as wide as the host's C."""

import ctypes

from hostscope.model.text import decode_utf16

BYTE = UCHAR = BOOLEAN = ctypes.c_uint8
WORD = USHORT = WCHAR = ctypes.c_uint16
SHORT = ctypes.c_int16
DWORD = ULONG = UINT = ctypes.c_uint32
LONG = INT = BOOL = NTSTATUS = HRESULT = ctypes.c_int32
ULONGLONG = ULONG64 = DWORD64 = ctypes.c_uint64
LONGLONG = LARGE_INTEGER = ctypes.c_int64
SIZE_T = ULONG_PTR = DWORD_PTR = KAFFINITY = ctypes.c_size_t
LONG_PTR = LPARAM = ctypes.c_ssize_t
HANDLE = PVOID = HMODULE = PSID = ctypes.c_void_p
LPWSTR = LPCWSTR = ctypes.c_wchar_p
LPSTR = LPCSTR = ctypes.c_char_p
POINTER = ctypes.POINTER
Composite = ctypes.Structure
sizeof, alignment = ctypes.sizeof, ctypes.alignment

INVALID_HANDLE_VALUE = 2**64 - 1
"""As `HANDLE` gives it back on 64-bit Windows."""


def wide(units: "ctypes.Array[ctypes.c_uint16]") -> str:
    """The text in an array of `WCHAR`, up to its NUL; unpaired surrogates stay as they are."""
    text = bytes(units).decode("utf-16-le", "surrogatepass")
    return text.partition("\0")[0]


def counted(units: "ctypes.Array[ctypes.c_uint16]", count: int) -> str:
    """The text in the first `count` of an array of `WCHAR`, as records keep it."""
    return decode_utf16(ctypes.string_at(units, 2 * min(max(count, 0), len(units))))
