"""pcapng files, written: blocks as bytes, and whole batches of packets as one array.

Blocks are whole by themselves: a file that ends after any of them is a valid one. Written in little-endian order with
times in nanoseconds. Source: draft-ietf-opsawg-pcapng.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hostscope.wire.batch import I64, U8, PacketBatch

SECTION, INTERFACE, NAMES, STATISTICS, PACKET = 0x0A0D0D0A, 1, 4, 5, 6
_ORDER_MAGIC = 0x1A2B3C4D
_UNKNOWN_LENGTH = 0xFFFF_FFFF_FFFF_FFFF
_END, _COMMENT = 0, 1
_HARDWARE, _OS, _APPLICATION = 2, 3, 4
_NAME, _MAC, _RESOLUTION, _FILTER = 2, 6, 9, 11
_STARTED, _ENDED, _RECEIVED, _DROPPED, _ACCEPTED, _OS_DROPPED, _DELIVERED = 2, 3, 4, 5, 6, 7, 8
_FLAGS, _DROP_COUNT = 2, 4
_IPV4_NAME, _IPV6_NAME = 1, 2
_NANOSECONDS = 9
_LIBPCAP_TEXT = b"\0"
"""The form of a filter: libpcap's expression."""
MOST_TEXT_BYTES = 4096
"""Of one comment or name; options have 65,535 at most."""

_HEAD_BYTES, _TAIL_BYTES = 28, 4
_FLAGS_BYTES, _DROPS_BYTES, _END_BYTES = 8, 12, 4
_STEP = 32
"""Packets are copied in pieces of a multiple of this. What a piece is too long falls on the block's tail and on the
next one's head, together at least as long, which are written afterwards."""
_LARGE_BYTES = 8192
"""Packets above are copied one by one."""


class Encoded(Struct, frozen=True, eq=False):
    """The blocks of a batch of packets."""

    data: U8
    starts: I64
    """Where each packet's block begins in `data`, and at last where the blocks end."""

    def part(self, first: int, last: int) -> memoryview:
        """The blocks of the packets from `first` to before `last`."""
        return self.data.data[int(self.starts[first]) : int(self.starts[last])]


class Notes(Struct, frozen=True, eq=False):
    """Options that many packets have in common."""

    options: Sequence[bytes]
    """Encoded by `option` or `comment`, without the end of options; the first is empty: packets without a note."""
    index: I64
    """Which of them each packet has."""


def option(code: int, value: bytes) -> bytes:
    """One option, padded."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def comment(text: str) -> bytes:
    """A comment for any block, cut where it is long."""
    return option(_COMMENT, _text(text))


def section(hardware: str, system: str, application: str, comments: Iterable[str] = ()) -> bytes:
    """The block that begins a file."""
    options = [option(_HARDWARE, _text(hardware)), option(_OS, _text(system)), option(_APPLICATION, _text(application))]
    body = struct.pack("<IHHQ", _ORDER_MAGIC, 1, 0, _UNKNOWN_LENGTH)
    return _block(SECTION, body, [*options, *map(comment, comments)])


def interface(
    name: str,
    link: int,
    snap_bytes: int,
    filter_: str | None = None,
    mac: bytes | None = None,
    comments: Sequence[str] = (),
) -> bytes:
    """An interface; packets name it by its place among the interfaces of the file."""
    options = [option(_NAME, _text(name)), option(_RESOLUTION, bytes([_NANOSECONDS]))]
    if filter_:
        options.append(option(_FILTER, _LIBPCAP_TEXT + _text(filter_)))
    if mac and len(mac) == 6:
        options.append(option(_MAC, mac))
    return _block(INTERFACE, struct.pack("<HHI", link, 0, snap_bytes), [*options, *map(comment, comments)])


def names(known: Mapping[str, Sequence[str]], comments: Iterable[str] = ()) -> bytes:
    """Names of IP addresses, which readers show in place of the addresses."""
    records = b"".join(_name_record(address, given) for address, given in known.items())
    return _block(NAMES, records + bytes(4), [comment(text) for text in comments])


def statistics(place: int, began_ns: int, now_ns: int, passed: int, dropped: int | None, written: int) -> bytes:
    """What became of an interface's packets.

    Args:
        place: of the interface in the file.
        passed: packets that passed the filter, dropped ones included.
        dropped: of these, those that found no room; None when nobody counted them, then the file says nothing of it.
        written: of these, those that are in files.
    """
    options = [
        option(_STARTED, _instant(began_ns)),
        option(_ENDED, _instant(now_ns)),
        *(
            option(code, struct.pack("<Q", count))
            for code, count in (
                (_RECEIVED, passed), (_DROPPED, dropped), (_ACCEPTED, passed), (_OS_DROPPED, dropped),
                (_DELIVERED, written),
            )
            if count is not None
        ),
    ]  # fmt: skip
    return _block(STATISTICS, struct.pack("<I", place) + _instant(now_ns), options)


def packets(batch: PacketBatch, notes: Notes | None = None) -> Encoded:
    """A block for each packet of a batch.

    Cost: 0.1 µs a packet, and reading and writing its bytes once.
    """
    count = len(batch)
    if not count:
        return Encoded(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    captured = _held(batch)
    data_ends = _HEAD_BYTES + captured
    tail = _Tail.plan(batch, notes, (data_ends + 3) & ~3)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(tail.sizes)])
    out = np.zeros(int(starts[-1]) + _STEP, np.uint8)
    begins = starts[:-1]
    _copy(batch.data, batch.offsets, out, begins + _HEAD_BYTES, captured)
    for more in range(3):
        out[begins + data_ends + more] = 0
    _write_heads(out, begins, batch, captured, tail.sizes)
    tail.write(out, begins)
    return Encoded(out[: int(starts[-1])], starts)


class _Tail(Struct, frozen=True, eq=False):
    """What stands behind the bytes of each packet: options, and the length again."""

    batch: PacketBatch
    notes: Notes | None
    note_bytes: I64
    at: I64
    """Where it begins in its block."""
    sizes: I64
    """Of the whole blocks."""

    @classmethod
    def plan(cls, batch: PacketBatch, notes: Notes | None, at: I64) -> "_Tail":
        lengths = (
            np.array([len(one) for one in notes.options], np.int64)[notes.index]
            if notes
            else np.zeros(len(at), np.int64)
        )
        options = lengths + (_FLAGS_BYTES if batch.flags is not None else 0)
        options[0] += _DROPS_BYTES if batch.lost else 0
        return cls(batch, notes, lengths, at, at + options + np.where(options > 0, _END_BYTES, 0) + _TAIL_BYTES)

    def write(self, out: U8, begins: I64) -> None:
        """Options in the order flags, drops, note; the end of options is four zeros."""
        words, at = out[: len(out) & ~3].view("<u4"), begins + self.at
        if self.batch.flags is not None:
            words[at >> 2] = _FLAGS | 4 << 16
            words[(at >> 2) + 1] = self.batch.flags
            at = at + _FLAGS_BYTES
        if self.batch.lost:
            drops = option(_DROP_COUNT, struct.pack("<Q", self.batch.lost))
            out[int(at[0]) : int(at[0]) + _DROPS_BYTES] = np.frombuffer(drops, np.uint8)
            at[0] += _DROPS_BYTES
        if self.notes:
            self._write_notes(out, at, self.notes)
        ends = begins + self.sizes - _TAIL_BYTES
        with_options = self.sizes > self.at + _TAIL_BYTES
        words[(ends[with_options] >> 2) - 1] = _END
        words[ends >> 2] = self.sizes

    def _write_notes(self, out: U8, at: I64, notes: Notes) -> None:
        """All notes of one length at a time."""
        for length in np.unique(self.note_bytes).tolist():
            if length:
                some = np.flatnonzero(self.note_bytes == length)
                used, which = np.unique(notes.index[some], return_inverse=True)
                table = np.frombuffer(b"".join(notes.options[one] for one in used.tolist()), f"V{length}")
                _windows(out, length)[at[some]] = table[which]


def _held(batch: PacketBatch) -> I64:
    """Bytes of each packet that the buffer really has."""
    room = np.clip(len(batch.data) - batch.offsets, 0, None)
    return np.where(batch.offsets < 0, 0, np.minimum(batch.captured, room)).astype(np.int64)


def _write_heads(out: U8, begins: I64, batch: PacketBatch, captured: I64, sizes: I64) -> None:
    words, at = out[: len(out) & ~3].view("<u4"), begins >> 2
    at_ns = batch.at_ns.view(np.uint64)
    columns: tuple[int | NDArray[np.generic], ...] = (
        PACKET, sizes, batch.interface, at_ns >> np.uint64(32), at_ns & np.uint64(0xFFFF_FFFF), captured, batch.lengths,
    )  # fmt: skip
    for place, column in enumerate(columns):
        words[at + place] = column


def _copy(source: U8, offsets: I64, out: U8, to: I64, lengths: I64) -> None:
    """Copies packets, those of about the same length at once."""
    steps = (lengths + _STEP - 1) // _STEP
    single = (steps * _STEP > _LARGE_BYTES) | (offsets + steps * _STEP > len(source))
    for place in np.flatnonzero(single).tolist():
        begin, end, size = int(offsets[place]), int(to[place]), int(lengths[place])
        out[end : end + size] = source[begin : begin + size]
    many = np.flatnonzero(~single & (lengths > 0))
    order = many[np.argsort(steps[many], kind="stable")]
    edges = np.flatnonzero(np.diff(steps[order], prepend=-1, append=-1)).tolist()
    for first, last in pairwise(edges):
        group = order[first:last]
        width = int(steps[group[0]]) * _STEP
        _windows(out, width)[to[group]] = _windows(source, width)[offsets[group]]


def _windows(array: U8, width: int) -> NDArray[np.void]:
    """The array as pieces of `width` bytes that begin at each of its bytes; one piece is copied at once."""
    return np.ndarray((max(0, len(array) - width + 1),), f"V{width}", array, 0, (1,))


def _block(kind: int, body: bytes, options: Sequence[bytes]) -> bytes:
    inside = body + b"".join(options) + (bytes(_END_BYTES) if options else b"")
    size = len(inside) + 12
    return struct.pack("<II", kind, size) + inside + struct.pack("<I", size)


def _name_record(address: str, given: Sequence[str]) -> bytes:
    packed = ip_address(address).packed
    value = packed + b"".join(_text(name).replace(b"\0", b"") + b"\0" for name in given)
    return option(_IPV4_NAME if len(packed) == 4 else _IPV6_NAME, value)


def _instant(at_ns: int) -> bytes:
    return struct.pack("<II", at_ns >> 32 & 0xFFFF_FFFF, at_ns & 0xFFFF_FFFF)


def _text(text: str) -> bytes:
    """UTF-8, cut at a character."""
    return text.encode("utf-8", "replace")[:MOST_TEXT_BYTES].decode("utf-8", "ignore").encode()
