"""Memory of other processes (kernel32, psapi)."""

from ctypes import Array, Structure, addressof, byref, c_char, c_uint16, create_string_buffer, sizeof

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import (
    BOOL,
    DWORD,
    HANDLE,
    POINTER,
    PVOID,
    SIZE_T,
    ULONG_PTR,
    WCHAR,
    WORD,
    wide,
)

MEM_COMMIT = 0x1000
MEM_RESERVE = 0x2000
MEM_FREE = 0x10000
MEM_PRIVATE = 0x20000
MEM_MAPPED = 0x40000
MEM_IMAGE = 0x1000000
PAGE_NOACCESS = 0x01
PAGE_READONLY = 0x02
PAGE_READWRITE = 0x04
PAGE_WRITECOPY = 0x08
PAGE_EXECUTE = 0x10
PAGE_EXECUTE_READ = 0x20
PAGE_EXECUTE_READWRITE = 0x40
PAGE_EXECUTE_WRITECOPY = 0x80
PAGE_GUARD = 0x100
PAGE_NOCACHE = 0x200
PAGE_WRITECOMBINE = 0x400

_PATH_UNITS = 32_768
"""Longer than any path that Windows gives."""
_NO_FILE = frozenset({59, 87, 1006})
"""For STATUS_INVALID_ADDRESS (unmapped since), STATUS_SECTION_NOT_IMAGE and STATUS_FILE_INVALID (the page file's)."""


class MEMORY_BASIC_INFORMATION(Structure):
    """Pages of one kind beside each other."""

    _fields_ = (
        ("BaseAddress", PVOID),
        ("AllocationBase", PVOID),
        ("AllocationProtect", DWORD),
        ("PartitionId", WORD),
        ("RegionSize", SIZE_T),
        ("State", DWORD),
        ("Protect", DWORD),
        ("Type", DWORD),
    )


class PSAPI_WORKING_SET_EX_INFORMATION(Structure):
    """One page, and the bits of PSAPI_WORKING_SET_EX_BLOCK: bit 0 valid, bit 15 shared."""

    _fields_ = (("VirtualAddress", PVOID), ("VirtualAttributes", ULONG_PTR))


SIGNATURES = {
    "VirtualQueryEx": (SIZE_T, (HANDLE, PVOID, POINTER(MEMORY_BASIC_INFORMATION), SIZE_T)),
    "ReadProcessMemory": (BOOL, (HANDLE, PVOID, PVOID, SIZE_T, POINTER(SIZE_T))),
    "WriteProcessMemory": (BOOL, (HANDLE, PVOID, PVOID, SIZE_T, POINTER(SIZE_T))),
    "GetMappedFileNameW": (DWORD, (HANDLE, PVOID, POINTER(WCHAR), DWORD)),
    "QueryWorkingSetEx": (BOOL, (HANDLE, PVOID, DWORD)),
}
kernel32 = Library("kernel32", SIGNATURES)
psapi = Library("psapi", SIGNATURES)

_Path = WCHAR * _PATH_UNITS


def query(process: int, address: int) -> MEMORY_BASIC_INFORMATION | None:
    """What lies at an address, and how far it reaches; None behind the last address that programs have.

    Raises:
        OSError: 5 when access is denied.
    """
    found = MEMORY_BASIC_INFORMATION()
    if kernel32.VirtualQueryEx(process, address, byref(found), sizeof(found)):
        return found
    refused = failed("VirtualQueryEx")
    if refused.winerror == 87:  # ERROR_INVALID_PARAMETER: beyond the user's addresses
        return None
    raise refused


def read_into(process: int, address: int, into: memoryview) -> int:
    """Reads up to ``len(into)`` bytes; as many as there were, 0 where the first page cannot be read.

    The error of a read that was not whole is `library.last_error()`.
    """
    if not into:
        return 0
    buffer = c_char.from_buffer(into)
    count = SIZE_T()
    kernel32.ReadProcessMemory(process, address, addressof(buffer), len(into), byref(count))
    return min(count.value, len(into))


def write(process: int, address: int, content: bytes) -> int:
    """Writes bytes; how many were written."""
    count, held = SIZE_T(), create_string_buffer(content, len(content))
    kernel32.WriteProcessMemory(process, address, held, len(content), byref(count))
    return count.value


def mapped_file(process: int, address: int, buffer: "Array[c_uint16] | None" = None) -> str | None:
    """The file that is mapped at an address, by its device; None when there is none.

    Raises:
        OSError
    """
    units = _Path() if buffer is None else buffer
    size = psapi.GetMappedFileNameW(process, address, units, _PATH_UNITS)
    if size:
        return wide(units)
    refused = failed("GetMappedFileNameW")
    if refused.winerror in _NO_FILE:
        return None
    raise refused


def path_buffer() -> "Array[c_uint16]":
    """Room for `mapped_file`, to be used again."""
    return _Path()


def working_set(process: int, addresses: range) -> list[int]:
    """The flags of the pages at these addresses: bit 0 is resident, bit 15 can be shared.

    Raises:
        OSError
    """
    pages = (PSAPI_WORKING_SET_EX_INFORMATION * len(addresses))()
    for page, address in zip(pages, addresses, strict=True):
        page.VirtualAddress = address
    if not psapi.QueryWorkingSetEx(process, byref(pages), sizeof(pages)):
        raise failed("QueryWorkingSetEx")
    return [page.VirtualAttributes for page in pages]
