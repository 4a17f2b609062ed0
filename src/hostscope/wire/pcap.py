"""pcap files: microseconds or nanoseconds, either byte order."""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hostscope.errors import UsageError
from hostscope.wire.batch import I64, U8, PacketBatch
from hostscope.wire.feed import MAX_RECORD, Feed
from hostscope.wire.file_record import Ending, FileInterface
from hostscope.wire.records import HEADER, find_records

MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""First bytes -> byte order, nanoseconds of a time stamp's unit."""
FILE_HEADER = 24
BATCH = 16_384
"""Packets of one batch: their columns fit a core's own cache."""


class PcapFile:
    """A pcap file that is being read."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        if len(feed.data) < FILE_HEADER:
            raise UsageError("the file is shorter than a pcap header")
        self._order, self._unit_ns = MAGICS[feed.data[:4].tobytes()]
        *_, snap, link = struct.unpack_from(self._order + "4x2HiIII", feed.data.data)
        self.interfaces = [FileInterface(None, link & 0xFFFF, snap)]
        self.names: dict[str, str] = {}
        self.ending: Ending | None = None

    def batches(self) -> Iterator[PacketBatch]:
        """All complete packets."""
        feed, at = self._feed, FILE_HEADER
        while True:
            data = feed.data
            records, end = find_records(data, at, self._order)
            for span in spans(len(records.places)):
                yield self._batch(data, records.places[span], records.fields[span])
            left = len(data) - end
            if left >= HEADER and struct.unpack_from(self._order + "I", data.data, end + 8)[0] > MAX_RECORD:
                self.ending = Ending(left + feed.rest(), "a packet claims an impossible length")
                return
            at = 0
            if not feed.more(left):
                break
        if left or feed.broken:
            self.ending = Ending(left, feed.broken or "the last packet is incomplete")

    def noted(self, batch: PacketBatch) -> I64:
        """See `CaptureFile.noted`: there is never more than packets."""
        return np.zeros(0, np.int64)

    def comments(self, batch: PacketBatch, place: int) -> tuple[str, ...]:
        """See `CaptureFile.comments`."""
        return ()

    def _batch(self, data: U8, places: I64, fields: NDArray[np.uint32]) -> PacketBatch:
        seconds, fraction, captured, lengths = fields.T
        at_ns = seconds.astype(np.int64)
        at_ns *= 1_000_000_000
        at_ns += fraction.astype(np.int64) * self._unit_ns
        return PacketBatch(
            data, places + HEADER, captured.astype(np.uint32), lengths.astype(np.uint32), at_ns,
            np.zeros(len(places), np.uint16), self.interfaces[0].link,
        )  # fmt: skip


def spans(count: int) -> Iterator[slice]:
    """Parts of nearly the same size, none larger than `BATCH`."""
    parts = -(-count // BATCH)
    for part in range(parts):
        yield slice(count * part // parts, count * (part + 1) // parts)
