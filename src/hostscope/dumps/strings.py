"""Text in memory."""

import re
from collections.abc import Callable, Iterator

from hostscope.model.dump import FoundString

LONGEST = 4096
"""Characters; a longer run is given in parts."""
OVERLAP_BYTES = 2 * LONGEST
PART_BYTES = 16 << 20
STEP = {"ascii": 1, "utf-16": 2}
"""Bytes of a character."""
Read = Callable[[int, int], bytes]
"""(address, size) -> the bytes from there on."""


def patterns(shortest: int) -> dict[str, re.Pattern[bytes]]:
    """By encoding; UTF-16 little endian of ASCII characters, as Windows programs and some libraries hold it."""
    return {
        "ascii": re.compile(rb"[\x20-\x7e\t]{%d,%d}" % (shortest, LONGEST)),
        "utf-16": re.compile(rb"(?:[\x20-\x7e\t]\x00){%d,%d}" % (shortest, LONGEST)),
    }


def find_strings(read: Read, start: int, end: int, shortest: int = 6) -> Iterator[FoundString]:
    """Every run of printable characters in a range, part by part; one that crosses a border is given once.

    Each part is read with what follows it; the next one begins behind the last run that was given.
    """
    shapes = patterns(shortest)
    begin = dict.fromkeys(shapes, start)
    for first in range(start, end, PART_BYTES):
        last = min(first + PART_BYTES, end)
        content = read(first, min(last + OVERLAP_BYTES, end) - first)
        for encoding, pattern in shapes.items():
            for found in pattern.finditer(content, max(0, begin[encoding] - first)):
                if first + found.start() >= last:
                    break
                begin[encoding] = first + found.end()
                yield FoundString(first + found.start(), encoding, found.group()[:: STEP[encoding]].decode("ascii"))
