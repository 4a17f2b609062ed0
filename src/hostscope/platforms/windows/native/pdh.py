"""Performance counters by name (pdh)."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.structures import FILETIME
from hostscope.platforms.windows.native.types import (
    DWORD,
    DWORD_PTR,
    HANDLE,
    LONG,
    LONGLONG,
    LPCWSTR,
    POINTER,
    PVOID,
    wide,
)

PDH_CSTATUS_VALID_DATA = 0x00000000
PDH_CSTATUS_NEW_DATA = 0x00000001
PDH_MORE_DATA = 0x800007D2
PDH_CSTATUS_NO_OBJECT = 0xC0000BB8
PDH_CSTATUS_NO_COUNTER = 0xC0000BB9
PDH_CSTATUS_BAD_COUNTERNAME = 0xC0000BC0
PDH_FMT_DOUBLE = 0x00000200
PDH_FMT_NOCAP100 = 0x00008000
_NAME_UNITS = 1024
_LIMIT = 1 << 26


class PDH_RAW_COUNTER(ctypes.Structure):
    _fields_ = [
        ("CStatus", DWORD),
        ("TimeStamp", FILETIME),
        ("FirstValue", LONGLONG),
        ("SecondValue", LONGLONG),
        ("MultiCount", DWORD),
    ]


class PDH_RAW_COUNTER_ITEM_W(ctypes.Structure):
    _fields_ = [("szName", PVOID), ("RawValue", PDH_RAW_COUNTER)]


class _Value(ctypes.Union):
    _fields_ = [("longValue", LONG), ("doubleValue", ctypes.c_double), ("largeValue", LONGLONG)]


class PDH_FMT_COUNTERVALUE(ctypes.Structure):
    _anonymous_ = ("value",)
    _fields_ = [("CStatus", DWORD), ("value", _Value)]


class PDH_FMT_COUNTERVALUE_ITEM_W(ctypes.Structure):
    _fields_ = [("szName", PVOID), ("FmtValue", PDH_FMT_COUNTERVALUE)]


SIGNATURES = {
    "PdhOpenQueryW": (LONG, (LPCWSTR, DWORD_PTR, POINTER(HANDLE))),
    "PdhCloseQuery": (LONG, (HANDLE,)),
    "PdhAddEnglishCounterW": (LONG, (HANDLE, LPCWSTR, DWORD_PTR, POINTER(HANDLE))),
    "PdhCollectQueryData": (LONG, (HANDLE,)),
    "PdhGetRawCounterArrayW": (LONG, (HANDLE, POINTER(DWORD), POINTER(DWORD), PVOID)),
    "PdhGetFormattedCounterValue": (LONG, (HANDLE, DWORD, POINTER(DWORD), POINTER(PDH_FMT_COUNTERVALUE))),
    "PdhGetFormattedCounterArrayW": (LONG, (HANDLE, DWORD, POINTER(DWORD), POINTER(DWORD), PVOID)),
}
pdh = Library("pdh", SIGNATURES)


@contextmanager
def opened_query() -> Iterator[int]:
    """A query of this host's counters, for the block. Raises SystemRefused."""
    query = HANDLE()
    _check("PdhOpenQueryW", pdh.PdhOpenQueryW(None, 0, ctypes.byref(query)))
    try:
        yield query.value or 0
    finally:
        pdh.PdhCloseQuery(query)


def add_counter(query: int, path: str) -> int:
    """A counter by its English name, whatever language Windows speaks; it goes with the query.

    Raises:
        SystemRefused: no counter has that name.
    """
    counter = HANDLE()
    _check("PdhAddEnglishCounterW", pdh.PdhAddEnglishCounterW(query, path, 0, ctypes.byref(counter)))
    return counter.value or 0


def collect(query: int) -> None:
    """Reads all counters of the query. Raises SystemRefused."""
    _check("PdhCollectQueryData", pdh.PdhCollectQueryData(query))


def raw_values(counter: int) -> list[tuple[str, int]]:
    """Instance and sum since the system started, of those that have one. Raises SystemRefused."""
    items = _array("PdhGetRawCounterArrayW", PDH_RAW_COUNTER_ITEM_W, pdh.PdhGetRawCounterArrayW, counter)
    return [(_name(item.szName), item.RawValue.FirstValue) for item in items if _is_valid(item.RawValue.CStatus)]


def value(counter: int) -> tuple[float | None, int]:
    """Value of a counter that names its instance, as its kind says, and its status. Raises SystemRefused."""
    found = PDH_FMT_COUNTERVALUE()
    form = PDH_FMT_DOUBLE | PDH_FMT_NOCAP100
    _check("PdhGetFormattedCounterValue", pdh.PdhGetFormattedCounterValue(counter, form, None, ctypes.byref(found)))
    return found.doubleValue if _is_valid(found.CStatus) else None, found.CStatus


def values(counter: int) -> list[tuple[str, float | None, int]]:
    """Instance, value as the counter's kind says (None without one), and its status. Raises SystemRefused."""
    form = PDH_FMT_DOUBLE | PDH_FMT_NOCAP100
    items = _array("PdhGetFormattedCounterArrayW", PDH_FMT_COUNTERVALUE_ITEM_W, pdh.PdhGetFormattedCounterArrayW,
                   counter, form)  # fmt: skip
    return [
        (
            _name(item.szName),
            item.FmtValue.doubleValue if _is_valid(item.FmtValue.CStatus) else None,
            item.FmtValue.CStatus,
        )
        for item in items
    ]


def _array(call: str, kind: Any, function: Any, *before: int) -> list[Any]:
    size, count = DWORD(0), DWORD(0)
    status = function(*before, ctypes.byref(size), ctypes.byref(count), None) & 0xFFFFFFFF
    while status == PDH_MORE_DATA and 0 < size.value <= _LIMIT:
        # Instances may be added between the two calls.
        buffer: Any = (ctypes.c_char * size.value)()
        status = function(*before, ctypes.byref(size), ctypes.byref(count), buffer) & 0xFFFFFFFF
        if not status:
            whole = min(count.value, len(buffer) // ctypes.sizeof(kind))
            return list((kind * whole).from_buffer(buffer))
    _check(call, status)
    return []


def _name(address: int | None) -> str:
    """Of an instance; PDH put it into the buffer that `address` leads into."""
    return wide((ctypes.c_uint16 * _length(address)).from_address(address)) if address else ""


def _length(address: int) -> int:
    units = 0
    while units < _NAME_UNITS and ctypes.c_uint16.from_address(address + 2 * units).value:
        units += 1
    return units


def _is_valid(status: int) -> bool:
    return status in (PDH_CSTATUS_VALID_DATA, PDH_CSTATUS_NEW_DATA)


def _check(call: str, status: int) -> None:
    code = status & 0xFFFFFFFF
    if code:
        raise SystemRefused(call, code, f"{call} failed with PDH status 0x{code:08X}")
