"""pcapng files: sections of either byte order, several interfaces, blocks of any kind."""

import struct
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from hostscope.errors import UsageError
from hostscope.wire.batch import I64, U8, U32, PacketBatch
from hostscope.wire.feed import MAX_RECORD, Feed
from hostscope.wire.file_record import Ending, FileInterface
from hostscope.wire.pcap import spans
from hostscope.wire.pcapng_blocks import Clock, parse_comments, parse_interface, parse_names, parse_statistics
from hostscope.wire.ticks import to_ns

MAGIC = b"\x0a\x0d\x0d\x0a"
SECTION, INTERFACE, OLD_PACKET, SIMPLE_PACKET, NAMES, STATISTICS, PACKET = 0x0A0D0D0A, 1, 2, 3, 4, 5, 6
MIN_BYTES = {PACKET: 32, OLD_PACKET: 32, SIMPLE_PACKET: 16}
"""Of the blocks that hold packets, without the packet."""
MAX_INTERFACES, MAX_NAMES = 1 << 16, 1 << 16
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}


class Run(NamedTuple):
    """Packet blocks of one kind that follow one another, as places in words."""

    kind: int
    piece: "Piece"
    first: int
    """Where the section's interfaces begin in the file's list."""
    places: I64
    ends: I64


class Piece:
    """A piece of a file in one byte order, and its packet blocks.

    Blocks are found as words that hold the number of their kind and are followed by a length that also stands at the
    block's end. Inside a packet the same may be found by chance; only what follows the block before is used.
    """

    def __init__(self, data: U8, order: str) -> None:
        self.data = data
        self.words: U32 = data[: len(data) & ~3].view(order + "u4")
        self._found: dict[int, tuple[I64, I64, I64]] = {}

    def run(self, kind: int, first: int, at: int) -> Run:
        """The block at `at` (in words) and those of its kind that follow it directly."""
        if kind not in self._found:
            self._found[kind] = self._find(kind)
        places, ends, breaks = self._found[kind]
        start = int(np.searchsorted(places, at))
        stop = int(breaks[np.searchsorted(breaks, start)]) + 1
        return Run(kind, self, first, places[start:stop], ends[start:stop])

    def _find(self, kind: int) -> tuple[I64, I64, I64]:
        """Places and ends of all that look like blocks of that kind, and which of them the next does not follow."""
        words = self.words
        places = np.flatnonzero(words[:-1] == kind)
        sizes = words.take(places + 1).astype(np.int64)
        ends = places + (sizes >> 2)
        good = (sizes >= MIN_BYTES[kind]) & (sizes <= MAX_RECORD) & ((sizes & 3) == 0) & (ends <= len(words))
        if not good.all():  # data that look like such a block
            places, ends, sizes = places[good], ends[good], sizes[good]
        good = words.take(ends - 1) == sizes
        if not good.all():
            places, ends = places[good], ends[good]
        return places, ends, np.append(np.flatnonzero(places[1:] != ends[:-1]), len(places) - 1)


class PcapngFile:
    """A pcapng file that is being read."""

    def __init__(self, feed: Feed) -> None:
        self.interfaces: list[FileInterface] = []
        self.names: dict[str, str] = {}
        self.ending: Ending | None = None
        self._feed = feed
        self._clocks: list[Clock] = []
        self._first, self._order, self._left = 0, "<", 0
        self._damage: str | None = None
        self._given: Piece | None = None
        """Where the packets of the last batch are, if their blocks have options."""
        if feed.data[8:12].tobytes() not in _ORDERS:
            raise UsageError("a pcapng file without a byte order")

    def batches(self) -> Iterator[PacketBatch]:
        """All complete packets."""
        feed = self._feed
        while True:
            for (kind, piece, first), runs in groupby(self._runs(feed.data), key=lambda run: run[:3]):
                places = np.concatenate([run.places for run in runs])
                self._given = piece if kind == PACKET else None
                for span in spans(len(places)):
                    yield from self._batches(kind, piece, first, places[span])
            if self._damage:
                self.ending = Ending(self._left + feed.rest(), self._damage)
                return
            if not feed.more(self._left):
                break
        if self._left or feed.broken:
            self.ending = Ending(self._left, feed.broken or "the last block is incomplete")

    def noted(self, batch: PacketBatch) -> I64:
        """See `CaptureFile.noted`. Cost: 2 ns a packet."""
        if self._given is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero(_option_bytes(self._given, batch.offsets, batch.captured.astype(np.int64)) > 0)

    def comments(self, batch: PacketBatch, place: int) -> tuple[str, ...]:
        """See `CaptureFile.comments`."""
        if self._given is None:
            return ()
        offset, captured = batch.offsets[place : place + 1], batch.captured[place : place + 1].astype(np.int64)
        size, begin = int(_option_bytes(self._given, offset, captured)[0]), int(offset[0] + _padded(captured)[0])
        order = self._given.words.dtype.str[0]
        return parse_comments(self._given.data[begin : begin + max(0, size)].tobytes(), order)

    def _runs(self, data: U8) -> Iterator[Run]:
        """The packet blocks of a piece; what other blocks say is noted on the way."""
        at, piece = 0, Piece(data, self._order)
        while self._left_after(data, at) and (size := self._size(data, at)):
            kind = struct.unpack_from(self._order + "I", data.data, at)[0]
            if kind in MIN_BYTES:
                run = self._known(piece.run(kind, self._first, at >> 2))
                yield run
                at = int(run.ends[-1]) * 4 if len(run.ends) else at
                continue
            if kind == SECTION:
                piece, self._first = Piece(data, self._order), len(self.interfaces)
            self._describe(kind, data[at + 8 : at + size - 4].tobytes())
            at += size

    def _left_after(self, data: U8, at: int) -> bool:
        """Keeps how much is not understood yet; whether there may be another block."""
        self._left = len(data) - at
        return self._left >= 12 and not self._damage

    def _size(self, data: U8, at: int) -> int:
        """Bytes of the block at `at`; 0 if it is not all there, or damaged."""
        if data[at : at + 4].tobytes() == MAGIC:
            self._order = _ORDERS.get(data[at + 8 : at + 12].tobytes(), self._order)
        kind, size = struct.unpack_from(self._order + "II", data.data, at)
        if size < MIN_BYTES.get(kind, 12) or size > MAX_RECORD or size % 4:
            self._damage = "a block claims an impossible length"
            return 0
        if at + size > len(data):
            return 0
        if struct.unpack_from(self._order + "I", data.data, at + size - 4)[0] != size:
            self._damage = "the two lengths of a block differ"
            return 0
        return int(size)

    def _known(self, run: Run) -> Run:
        """The blocks up to the first whose interface was not described."""
        unknown = np.flatnonzero(_interfaces(run.kind, run.piece, run.places) >= len(self.interfaces) - run.first)
        if not len(unknown):
            return run
        self._damage = "a packet names an interface that was not described"
        return run._replace(places=run.places[: unknown[0]], ends=run.ends[: unknown[0]])

    def _describe(self, kind: int, body: bytes) -> None:
        if kind == INTERFACE:
            found = parse_interface(body, self._order)
            if found is None or len(self.interfaces) >= MAX_INTERFACES:
                self._damage = "an interface description that makes no sense"
                return
            self.interfaces.append(found[0])
            self._clocks.append(found[1])
        if kind == STATISTICS and (counted := parse_statistics(body, self._order)):
            place = self._first + counted.interface
            if place < len(self.interfaces):
                self.interfaces[place] = replace(
                    self.interfaces[place], received=counted.received, dropped=counted.dropped
                )
        if kind == NAMES and len(self.names) < MAX_NAMES:
            self.names.update(parse_names(body, self._order))

    def _batches(self, kind: int, piece: Piece, first: int, places: I64) -> Iterator[PacketBatch]:
        """The packets of these blocks, one batch for each link type."""
        words, interface = piece.words, _interfaces(kind, piece, places) + first
        header = 3 if kind == SIMPLE_PACKET else 7
        lengths = words.take(places + (header - 1)).astype(np.uint32)
        room = words.take(places + 1).astype(np.int64) - MIN_BYTES[kind]
        if kind == SIMPLE_PACKET:
            snap = self.interfaces[first].snap_bytes or MAX_RECORD
            captured, at_ns = np.minimum(lengths, snap), np.zeros(len(places), np.int64)  # these blocks have no time
        else:
            captured, at_ns = words.take(places + 5), self._at_ns(words, places, interface)
        captured = np.minimum(captured.astype(np.int64), room).astype(np.uint32)
        offsets = (places + header) * 4
        batch = PacketBatch(piece.data, offsets, captured, lengths, at_ns, interface.astype(np.uint16))
        links = {number: self.interfaces[number].link for number in _different(interface)}
        if len(set(links.values())) == 1:
            yield replace(batch, link=links[int(interface[0])])
            return
        link_of = np.array([one.link for one in self.interfaces])[interface]
        for link in sorted(set(links.values())):
            yield replace(batch.take(np.flatnonzero(link_of == link)), link=link)

    def _at_ns(self, words: U32, places: I64, interface: I64) -> I64:
        ticks = (words.take(places + 3).astype(np.uint64) << np.uint64(32)) | words.take(places + 4)
        clocks = {number: self._clocks[number] for number in _different(interface)}
        if len(set(clocks.values())) == 1:
            return to_ns(ticks, *next(iter(clocks.values())))
        at_ns = np.zeros(len(places), np.int64)
        for number, clock in clocks.items():
            some = interface == number
            at_ns[some] = to_ns(ticks[some], *clock)
        return at_ns


def _option_bytes(piece: Piece, offsets: I64, captured: I64) -> I64:
    """How many bytes of options follow the packets that begin there; less than 1 for none."""
    sizes = piece.words.take((offsets >> 2) - 6).astype(np.int64)
    return sizes - MIN_BYTES[PACKET] - _padded(captured)


def _padded(lengths: I64) -> I64:
    return (lengths + 3) & ~3


def _different(numbers: I64) -> list[int]:
    """The numbers that occur; mostly it is one."""
    first = int(numbers[0])
    return [first] if (numbers == first).all() else np.unique(numbers).tolist()


def _interfaces(kind: int, piece: Piece, places: I64) -> I64:
    """Each packet's interface in its section's list."""
    if kind == PACKET:
        return piece.words.take(places + 2).astype(np.int64)
    if kind == SIMPLE_PACKET:
        return np.zeros(len(places), np.int64)
    halves = piece.data[: len(piece.words) * 4].view(piece.words.dtype.str[0] + "u2")
    return halves[places * 2 + 4].astype(np.int64)
