"""Where the records of a pcap file begin.

Each record says how long it is, so they have to be followed one by one, which is slow in Python. Here several hundred
places of a piece are followed at once. They are found by guessing from time stamps, and nothing depends on the guesses:
all records together are checked to follow one another exactly from the first on, which only the true ones do.
"""

import struct

import numpy as np

from hostscope.wire.batch import I64, U8
from hostscope.wire.feed import MAX_RECORD

HEADER = 16
LANE = 1 << 14
"""Bytes that are followed in one place."""
MIN_LANES = 16
"""With fewer, following one by one is as fast."""
STRIDE = 8
"""Records that are followed before lanes that are through are left out."""
MAX_STEPS = 1024
"""Records that are followed in one place; behind tiny ones the rest of the piece is followed one by one."""
SEARCHED = 1600
"""Bytes in which a lane looks for its first record; most packets are shorter."""
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
    count = (len(data) - start - SEARCHED) // LANE
    if count < MIN_LANES:
        return np.zeros(0, np.int64)
    heads = _sync(data, start, start + LANE * np.arange(1, count, dtype=np.int64), order)
    if len(heads) < MIN_LANES:
        return np.zeros(0, np.int64)
    return _run(data, np.concatenate([[start], heads]), order)


def _sync(data: U8, start: int, begins: I64, order: str) -> I64:
    """The first place after each of `begins` that looks like a record followed by another, where there is one."""
    # The upper half of a record's seconds is the same for 18 hours.
    half = 2 if order == "<" else 0
    first, second = data[start + half], data[start + half + 1]
    found = _every(data, f"V{SEARCHED}")[begins].view(np.uint8).reshape(-1, SEARCHED)
    hits = np.flatnonzero((found[:, half:-1] == first) & (found[:, half + 1 :] == second))
    lane, place = np.divmod(hits, SEARCHED - 1 - half)
    at = begins[lane] + place
    _, fraction, size, original = _every(data, f"V{HEADER}")[at].view(order + "u4").reshape(-1, 4).T.astype(np.int64)
    after = np.minimum(at + HEADER + size, len(data) - HEADER) + half
    good = (fraction < 10**9) & (size <= np.minimum(original, _LIKELY))
    good &= (data[after] == first) & (data[after + 1] == second)
    lane, at = lane[good], at[good]
    heads = at[np.diff(lane, prepend=-1) > 0]
    return heads[np.diff(heads, prepend=-1) > 0]


def _every(data: U8, form: str) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """An item of that form at every single byte."""
    kind = np.dtype(form)
    return np.ndarray((len(data) - kind.itemsize + 1,), kind, data, 0, (1,))


def _run(data: U8, heads: I64, order: str) -> I64:
    """Follows the records of all lanes at the same time, each up to the head of the next."""
    lengths, last = _lengths(data, order), len(data) - HEADER
    at, stops = heads, np.append(heads[1:], last + 1)
    found = []
    for _ in range(MAX_STEPS // STRIDE):
        rows = []
        for _ in range(STRIDE):
            rows.append(at)
            at = at + lengths[np.minimum(at, last)]
            at += HEADER
        grid = np.stack(rows)
        found.append(grid[grid < stops])
        going = np.flatnonzero(at < stops)
        if not len(going):
            break
        at, stops = at.take(going), stops.take(going)
    return np.sort(np.concatenate(found))
