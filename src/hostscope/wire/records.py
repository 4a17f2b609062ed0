"""Where the records of a pcap file begin.

Each record says how long it is, so they have to be followed one by one, which is slow in Python. Here several hundred
places of a piece are followed at once. They are found by guessing from time stamps, and nothing depends on the guesses:
all records together are checked to follow one another exactly from the first on, which only the true ones do.
"""

import struct

import numpy as np

from hostscope.wire.batch import I64, U8, Mask
from hostscope.wire.feed import MAX_RECORD

HEADER = 16
LANE = 1 << 15
"""Bytes that are followed in one place."""
MIN_LANES = 16
"""With fewer, following one by one is as fast."""
MAX_STEPS = 1024
"""Records that are followed in one place; behind tiny ones the rest of the piece is followed one by one."""
_SEARCHED = 4096
"""Bytes in which a lane looks for its first record; most packets are shorter than half of them."""
_LIKELY = 1 << 18
"""Records longer than this are no guess."""


def find_records(data: U8, start: int, order: str) -> tuple[I64, int]:
    """Places of the complete records from `start` on, and where the last one ends.

    What stands at that end is an incomplete record, or one that claims more than `MAX_RECORD`.

    Args:
        order: ``<`` or ``>``, the file's byte order.
    """
    found = _verified(data, _speculate(data, start, order), order)
    end = start
    if len(found):
        end = int(found[-1]) + HEADER + int(_lengths(data, order)[found[-1]])
    others, end = _follow(data, end, order)
    return np.concatenate([found, others]), end


def _follow(data: U8, at: int, order: str) -> tuple[I64, int]:
    """One record after the other."""
    length = struct.Struct(order + "8xI4x").unpack_from
    view, last, found = data.data, len(data) - HEADER, []
    while at <= last:
        (size,) = length(view, at)
        if size > MAX_RECORD or at + size > last:
            break
        found.append(at)
        at += HEADER + size
    return np.array(found, np.int64), at


def _lengths(data: U8, order: str) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """The length that a record at each place would have: four bytes at every single one."""
    return np.ndarray((max(0, len(data) - HEADER + 1),), order + "u4", data, 8 if len(data) >= HEADER else 0, (1,))


def _verified(data: U8, guesses: I64, order: str) -> I64:
    """The guesses up to the first after which the next does not follow, or that is not all there."""
    if not len(guesses):
        return guesses
    sizes = _lengths(data, order)[guesses]
    ends = guesses + HEADER + sizes
    good = (sizes <= MAX_RECORD) & (ends <= len(data))
    good[1:] &= ends[:-1] == guesses[1:]
    bad = np.flatnonzero(~good)
    return guesses[: bad[0]] if len(bad) else guesses


def _speculate(data: U8, start: int, order: str) -> I64:
    """Guessed places of all records, in order."""
    count = (len(data) - start) // LANE
    if count < MIN_LANES:
        return np.zeros(0, np.int64)
    heads = [start]
    stamp = _stamp(data, start, order)
    for lane in range(1, count):
        head = _sync(data, start + lane * LANE, stamp, order)
        if head is not None and head > heads[-1]:
            heads.append(head)
    if len(heads) < MIN_LANES:
        return np.zeros(0, np.int64)
    return _run(data, np.array(heads, np.int64), order)


def _stamp(data: U8, at: int, order: str) -> bytes:
    """The upper half of a record's seconds, the same for 18 hours."""
    return bytes(data[at + 2 : at + 4] if order == "<" else data[at : at + 2])


def _sync(data: U8, begin: int, stamp: bytes, order: str) -> int | None:
    """A place after `begin` that looks like a record followed by another."""
    fields = struct.Struct(order + "4I").unpack_from
    skip, last = (2 if order == "<" else 0), len(data) - HEADER
    text = bytes(data[begin : begin + _SEARCHED])
    found = text.find(stamp, skip)
    for _ in range(16):
        if found < 0:
            return None
        at = begin + found - skip
        if at <= last:
            _, fraction, size, original = fields(data.data, at)
            after = at + HEADER + size
            if (
                fraction < 10**9
                and size <= min(original, _LIKELY)
                and after <= last
                and _stamp(data, after, order) == stamp
            ):
                return at
        found = text.find(stamp, found + 1)
    return None


def _run(data: U8, heads: I64, order: str) -> I64:
    """Follows the records of all lanes at the same time, each up to the head of the next."""
    lengths, last = _lengths(data, order), len(data) - HEADER
    stops = np.append(heads[1:], len(data))
    at, rows = heads, list[I64]()
    while (at < stops).any() and len(rows) < MAX_STEPS:
        for _ in range(16):
            rows.append(at)
            at = at + lengths[np.minimum(at, last)]
            at += HEADER
    grid = np.stack(rows, axis=1)
    inside: Mask = grid < np.minimum(stops, last + 1)[:, None]
    return grid[inside]
