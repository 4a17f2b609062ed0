"""The PAGEMAP_SCAN ioctl: which pages of a range are there, without reading eight bytes for each."""

import ctypes
import fcntl
import struct

PAGEMAP_SCAN = 0xC0606610
"""_IOWR('f', 16, struct pm_scan_arg); include/uapi/linux/fs.h, Linux 6.7."""
PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PAGE_IS_PFNZERO = 1 << 3, 1 << 4, 1 << 5
_ARGUMENT = struct.Struct("=12Q")
_RANGE = struct.Struct("=3Q")
_RANGES = 16_384


class Room:
    """Space for what one scan finds: to make it anew for each takes longer than most scans."""

    def __init__(self) -> None:
        self.found = ctypes.create_string_buffer(_RANGE.size * _RANGES)
        self.view = memoryview(self.found)


def scan(pagemap: int, start: int, end: int, room: Room) -> tuple[list[tuple[int, int]], int]:
    """Ranges in ``[start, end)`` with pages that are present or swapped out and not the zero page, and where to go on.

    The kernel may stop short with its walk_end before the last range it gave (seen when their number is a multiple of
    512): going on from the larger of the two neither repeats nor leaves out.

    Raises:
        OSError: ENOTTY before Linux 6.7.
    """
    wanted, zero = PAGE_IS_PRESENT | PAGE_IS_SWAPPED, PAGE_IS_PFNZERO
    # size flags start end walk_end vec vec_len max_pages category_inverted category_mask anyof_mask return_mask
    argument = bytearray(
        _ARGUMENT.pack(
            _ARGUMENT.size,
            0,
            start,
            end,
            0,
            ctypes.addressof(room.found),
            _RANGES,
            0,
            zero,
            zero,
            wanted,
            PAGE_IS_PRESENT,
        )
    )
    count = fcntl.ioctl(pagemap, PAGEMAP_SCAN, argument, True)
    ranges = [(first, last) for first, last, _ in _RANGE.iter_unpack(room.view[: _RANGE.size * count])]
    walked = _ARGUMENT.unpack(argument)[4]
    return ranges, max([walked, *(last for _, last in ranges[-1:])])
