"""Catalogues that are installed here, by the files they list (wintrust.dll)."""

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import Structure, byref, c_uint8
from importlib import import_module
from typing import Any

from hostscope.platforms.windows.native.guid import GUID
from hostscope.platforms.windows.native.library import Library, failed, last_error
from hostscope.platforms.windows.native.types import (
    BOOL,
    BYTE,
    DWORD,
    HANDLE,
    LPCWSTR,
    POINTER,
    PVOID,
    WCHAR,
    sizeof,
    wide,
)  # fmt: skip

MAX_PATH = 260
ERROR_FILE_NOT_FOUND = 2
ERROR_NOT_FOUND = 1168
SHA256, SHA1 = "SHA256", "SHA1"
ALGORITHMS = (SHA256, SHA1)
"""Catalogues list files by either."""
_MOST_DIGEST_BYTES = 64
_MOST_CATALOGS = 8


class CATALOG_INFO(Structure):
    """Where a catalogue is."""

    _fields_ = (("cbStruct", DWORD), ("wszCatalogFile", WCHAR * MAX_PATH))


SIGNATURES = {
    "CryptCATAdminAcquireContext": (BOOL, (POINTER(HANDLE), POINTER(GUID), DWORD)),
    "CryptCATAdminCalcHashFromFileHandle": (BOOL, (HANDLE, POINTER(DWORD), POINTER(BYTE), DWORD)),
    "CryptCATAdminAcquireContext2": (BOOL, (POINTER(HANDLE), POINTER(GUID), LPCWSTR, PVOID, DWORD)),
    "CryptCATAdminCalcHashFromFileHandle2": (BOOL, (HANDLE, HANDLE, POINTER(DWORD), POINTER(BYTE), DWORD)),
    "CryptCATAdminEnumCatalogFromHash": (HANDLE, (HANDLE, POINTER(BYTE), DWORD, DWORD, POINTER(HANDLE))),
    "CryptCATCatalogInfoFromContext": (BOOL, (HANDLE, POINTER(CATALOG_INFO), DWORD)),
    "CryptCATAdminReleaseCatalogContext": (BOOL, (HANDLE, HANDLE, DWORD)),
    "CryptCATAdminReleaseContext": (BOOL, (HANDLE, DWORD)),
}
wintrust = Library("wintrust", SIGNATURES)


def catalogs_of(fd: int, algorithm: str) -> list[str]:
    """Paths of the installed catalogues that list an open file, a few at most.

    Raises:
        SystemRefused: the catalogues cannot be asked, or not by this algorithm.
        Unsupported: before Windows 8 there is no SHA256.

    Cost: the file is read and hashed; the catalogue database is asked, which its service keeps open.
    """
    with _context(algorithm) as context:
        return list(_listing(context, _digest(context, handle_of(fd), algorithm)))


def handle_of(fd: int) -> int:
    """The handle behind a descriptor of the C library."""
    get: Any = import_module("msvcrt").get_osfhandle
    return int(get(fd))


@contextmanager
def _context(algorithm: str) -> Iterator[int]:
    context = HANDLE()
    if algorithm == SHA1:
        if not wintrust.CryptCATAdminAcquireContext(byref(context), None, 0):
            raise failed("CryptCATAdminAcquireContext")
    elif not wintrust.CryptCATAdminAcquireContext2(byref(context), None, algorithm, None, 0):
        raise failed("CryptCATAdminAcquireContext2")
    try:
        yield context.value or 0
    finally:
        wintrust.CryptCATAdminReleaseContext(context, 0)


def _digest(context: int, file: int, algorithm: str) -> Any:
    size, digest = DWORD(_MOST_DIGEST_BYTES), (c_uint8 * _MOST_DIGEST_BYTES)()
    if algorithm == SHA1:
        if not wintrust.CryptCATAdminCalcHashFromFileHandle(file, byref(size), digest, 0):
            raise failed("CryptCATAdminCalcHashFromFileHandle")
    elif not wintrust.CryptCATAdminCalcHashFromFileHandle2(context, file, byref(size), digest, 0):
        raise failed("CryptCATAdminCalcHashFromFileHandle2")
    return (c_uint8 * size.value).from_buffer_copy(bytes(digest)[: size.value])


def _listing(context: int, digest: Any) -> Iterator[str]:
    """Each answer is let go of by asking for the one behind it; the last one here."""
    found = HANDLE()  # without a value: begins a listing
    try:
        for _ in range(_MOST_CATALOGS):
            before = HANDLE(found.value)
            found.value = wintrust.CryptCATAdminEnumCatalogFromHash(context, digest, len(digest), 0, byref(before))
            if not found.value:
                if last_error() not in (0, ERROR_FILE_NOT_FOUND, ERROR_NOT_FOUND):  # 2: there is not even a folder
                    raise failed("CryptCATAdminEnumCatalogFromHash")
                return
            yield _path(found.value)
    finally:
        if found.value:
            wintrust.CryptCATAdminReleaseCatalogContext(context, found, 0)


def _path(catalog: int) -> str:
    info = CATALOG_INFO(cbStruct=sizeof(CATALOG_INFO))
    if not wintrust.CryptCATCatalogInfoFromContext(catalog, byref(info), 0):
        raise failed("CryptCATCatalogInfoFromContext")
    return wide(info.wszCatalogFile)
