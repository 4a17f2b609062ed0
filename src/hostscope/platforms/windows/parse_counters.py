"""What the kernel counts for the whole host, parsed from the bytes of NtQuerySystemInformation. Pure."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_PROCESSOR = struct.Struct("<qqq16xI4x")
_SWITCHES_OFFSET, _PERFORMANCE_BYTES = 296, 312
"""Of SYSTEM_PERFORMANCE_INFORMATION before Windows 8, which later ones only made longer."""
_PAGE_FILE = struct.Struct("<IIII")
_MOST_PAGE_FILES = 64


class Times(NamedTuple):
    """Of all processors together, in 100 ns."""

    user: int
    system: int
    idle: int


def parse_times(raw: bytes | memoryview) -> Times:
    """SYSTEM_PROCESSOR_PERFORMANCE_INFORMATION of each processor: the kernel's time there includes the idle one.

    Raises:
        ValueError
    """
    whole = len(raw) // _PROCESSOR.size * _PROCESSOR.size
    if not whole:
        raise ValueError("no processor told its times")
    user = system = idle = 0
    for waited, kernel, own, _ in _PROCESSOR.iter_unpack(raw[:whole]):
        user, system, idle = user + own, system + max(0, kernel - waited), idle + waited
    return Times(user, system, idle)


def parse_switches(raw: bytes | memoryview) -> int:
    """Context switches since the start, modulo 2**32. Raises ValueError."""
    if len(raw) < _PERFORMANCE_BYTES:
        raise ValueError("the kernel's counts are cut short")
    return int.from_bytes(raw[_SWITCHES_OFFSET : _SWITCHES_OFFSET + 4], "little")


def parse_page_files(raw: bytes | memoryview) -> tuple[int, int]:
    """Pages in all page files, and how many of them are in use. Raises ValueError."""
    entries = list(_page_files(raw))
    return sum(total for total, _ in entries), sum(used for _, used in entries)


def _page_files(raw: bytes | memoryview) -> Iterator[tuple[int, int]]:
    at = 0
    for _ in range(_MOST_PAGE_FILES):
        if len(raw) == 0:
            return
        if at + _PAGE_FILE.size > len(raw):
            raise ValueError("a page file is cut short")
        step, total, used, _ = _PAGE_FILE.unpack_from(raw, at)
        yield total, used
        if not step:
            return
        at += step
    raise ValueError("page files do not end")
