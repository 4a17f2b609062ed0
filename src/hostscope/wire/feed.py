"""A file in large pieces, each beginning with what was left over of the one before."""

import sys
import zlib
from typing import Protocol

import numpy as np

from hostscope.wire.batch import U8

PIECE = 4 << 20
MAX_RECORD = 16 << 20
"""Longer records are taken for damage; libpcap's own bound for network packets is 256 KiB."""


class Readable(Protocol):
    """What is needed of a file."""

    def readinto1(self, buffer: memoryview, /) -> int:
        """Fills the buffer as far as one read goes, so that nothing is lost when the next fails; 0 at the end."""


class Feed:
    """Reads ahead in pieces. Not a map of the file: that proved slower, and a file that is cut meanwhile would kill us.

    Each piece has an array of its own as long as anybody holds the piece, so batches that are kept stay true. Arrays
    that nobody holds are used again: fresh memory of this size costs more to get than to fill.
    """

    def __init__(self, file: Readable, piece: int = PIECE) -> None:
        self._file = file
        self._piece = piece
        self._arrays: list[U8] = []
        self.data: U8 = np.zeros(0, np.uint8)
        self.broken: str | None = None
        """Why reading ended before the end of the file."""

    def more(self, left: int) -> bool:
        """Drops all but the last `left` bytes and appends as many more as there are, up to a piece.

        Returns:
            Whether there were any.
        """
        data = self._array(left + self._piece)
        data[:left] = self.data[len(self.data) - left :]
        filled = left
        while filled < len(data):
            count = self._read(data.data[filled:])
            if not count:
                break
            filled += count
        self.data = data[:filled]
        return filled > left

    def _array(self, size: int) -> U8:
        """One that nobody else refers to (a view does), or a new one."""
        for array in self._arrays:
            # The list, the loop's name and the argument of the call.
            if sys.getrefcount(array) == 3 and len(array) >= size:
                return array[:size]
        self._arrays = [*self._arrays[-2:], np.empty(size + (size >> 3), np.uint8)]
        return self._arrays[-1][:size]

    def rest(self) -> int:
        """How many bytes follow what was read; they are thrown away."""
        scratch, total = memoryview(bytearray(1 << 20)), 0
        while count := self._read(scratch):
            total += count
        return total

    def _read(self, into: memoryview) -> int:
        try:
            return self._file.readinto1(into)
        except (EOFError, zlib.error) as error:  # a compressed file that was cut or damaged
            self.broken = str(error)
            return 0
        except OSError as error:
            if error.errno is not None:
                raise
            self.broken = str(error)  # gzip.BadGzipFile: other data after the compressed
            return 0
