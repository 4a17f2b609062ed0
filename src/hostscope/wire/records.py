"""Where the records of a pcap file begin.

Each record says how long it is, so they have to be followed one by one, which is slow in Python. Here several hundred
places of a piece are followed at once. They are found by guessing from time stamps, and nothing depends on the guesses:
all records together are checked to follow one another exactly from the first on, which only the true ones do.
"""

import struct
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostscope.wire.batch import I64, U8, Mask
from hostscope.wire.feed import MAX_RECORD

HEADER = 16
LANE = 8_000
"""Bytes that are followed in one place. No power of two: those places would share few lines of a cache."""
MIN_LANES = 16
"""With fewer, following one by one is as fast."""
STRIDE = 8
"""Records that are followed before lanes that are through are left out."""
MAX_STEPS = 1024
"""Records that are followed in one place; behind tiny ones the rest of the piece is followed one by one."""
SEARCHED = 1536
"""Bytes in which a lane looks for its first record; most packets are shorter."""
NEAR = 512
"""Bytes of these in which it looks at first."""
_LIKELY = 1 << 18
"""Records longer than this are no guess."""


class Records(NamedTuple):
    """The complete records of a piece. Parallel columns."""

    places: I64
    fields: NDArray[np.uint32]
    """(N, 4): seconds, fraction, captured and original length."""


def find_records(data: U8, start: int, order: str) -> tuple[Records, int]:
    """The complete records from `start` on, and where the last one ends.

    What stands at that end is an incomplete record, or one that claims more than `MAX_RECORD`.

    Args:
        order: ``<`` or ``>``, the file's byte order.
    """
    found = _verified(data, _speculate(data, start, order), order)
    end = start
    if len(found.places):
        end = int(found.places[-1]) + HEADER + int(found.fields[-1, 2])
    others, end = _follow(data, end, order)
    if len(others):
        places = np.concatenate([found.places, others])
        found = Records(places, np.concatenate([found.fields, _fields(data, others, order)]))
    return found, end


def _fields(data: U8, places: I64, order: str) -> NDArray[np.uint32]:
    """All four fields of each in one look-up: an item of 16 bytes at every single byte."""
    return _every(data, f"V{HEADER}")[places].view(order + "u4").reshape(-1, 4)


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


def _verified(data: U8, guesses: I64, order: str) -> Records:
    """The guesses up to the first after which the next does not follow, or that is not all there."""
    if not len(guesses):
        return Records(guesses, np.zeros((0, 4), order + "u4"))
    fields = _fields(data, guesses, order)
    sizes = fields[:, 2].astype(np.int64)
    ends = guesses + sizes
    ends += HEADER
    good = ends <= len(data)
    good &= sizes <= MAX_RECORD
    good[1:] &= ends[:-1] == guesses[1:]
    stop = len(good) if good.all() else int(good.argmin())
    return Records(guesses[:stop], fields[:stop])


def _speculate(data: U8, start: int, order: str) -> I64:
    """Guessed places of all records, in order."""
    count = (len(data) - start - SEARCHED) // LANE
    if count < MIN_LANES:
        return np.zeros(0, np.int64)
    heads = _sync(data, start, count, order)
    if len(heads) < MIN_LANES:
        return np.zeros(0, np.int64)
    return _run(data, np.concatenate([[start], heads]), order)


def _sync(data: U8, start: int, count: int, order: str) -> I64:
    """In each lane but the first, the first place that looks like a record followed by another, where there is one."""
    # The upper half of a record's seconds is the same for 18 hours.
    half = 2 if order == "<" else 0
    sought = data[start + half : start + half + 2].view(np.uint16)[0]
    lanes = data[start + LANE : start + LANE * count].reshape(-1, LANE)[:, half:]
    first = _first(lanes[:, : NEAR + 2], sought)
    far = np.flatnonzero(first >= SEARCHED)
    if len(far):
        first[far] = _first(lanes[far, NEAR : SEARCHED + 2], sought) + NEAR
    begins = np.arange(start, start + LANE * count, LANE)[1:]
    at = begins + np.minimum(first, SEARCHED)
    good = _is_likely(data, at, sought, half, order)
    unsure = np.flatnonzero(~good & (first < SEARCHED))
    heads = at[good]
    if len(unsure):
        heads = np.concatenate([heads, _thorough(data, begins[unsure], sought, half, order)])
    heads.sort()
    return heads[np.diff(heads, prepend=-1) > 0]


def _thorough(data: U8, begins: I64, sought: np.uint16, half: int, order: str) -> I64:
    """The same for lanes in which the number sought is also found elsewhere."""
    one, other = sought.tobytes()
    found = _every(data[half:], f"V{SEARCHED}")[begins].view(np.uint8).reshape(-1, SEARCHED)
    lane, place = np.divmod(np.flatnonzero((found[:, :-1] == one) & (found[:, 1:] == other)), SEARCHED - 1)
    at = begins[lane] + place
    good = _is_likely(data, at, sought, half, order)
    heads: I64 = at[good][np.diff(lane[good], prepend=-1) > 0]
    return heads


def _first(lanes: U8, sought: np.uint16) -> I64:
    """Where each lane has the number for the first time; `SEARCHED` where it has not. `lanes` are of even width."""
    even = lanes[:, :-2].view(np.uint16) == sought
    odd = np.ascontiguousarray(lanes[:, 1:-1]).view(np.uint16) == sought  # comparing what is not aligned is slow
    first: I64 = np.minimum(_place(even) * 2, _place(odd) * 2 + 1)
    return first


def _place(hits: Mask) -> I64:
    """The first hit of each row, and a place behind all for rows without one."""
    place: I64 = hits.argmax(axis=1)
    place[~hits[np.arange(len(hits)), place]] = SEARCHED
    return place


def _is_likely(data: U8, at: I64, sought: np.uint16, half: int, order: str) -> Mask:
    """Whether these look like records with another behind them, by lengths and time stamps."""
    pairs = _every(data, "u2")
    _, fraction, size, original = _fields(data, at, order).T.astype(np.int64)
    after = np.minimum(at + HEADER + size, len(data) - HEADER) + half
    good: Mask = (fraction < 10**9) & (size <= np.minimum(original, _LIKELY)) & (pairs[at + half] == sought)
    good &= pairs[after] == sought
    return good


def _every(data: U8, form: str) -> NDArray[Any]:
    """An item of that form at every single byte."""
    kind = np.dtype(form)
    return np.ndarray((len(data) - kind.itemsize + 1,), kind, data, 0, (1,))


def _run(data: U8, heads: I64, order: str) -> I64:
    """Follows the records of all lanes at the same time, each up to the head of the next."""
    lengths, last = _every(data[8:], order + "u4"), len(data) - HEADER
    at, stops = heads, np.append(heads[1:], last + 1)
    found = []
    for _ in range(MAX_STEPS // STRIDE):
        grid = np.empty((STRIDE + 1, len(at)), np.int64)
        grid[0] = at
        for row, following in pairwise(grid):
            np.add(row, lengths[np.minimum(row, last)], out=following)
            np.add(following, HEADER, out=following)
        records, at = grid[:-1], grid[-1]
        found.append(records[records < stops])
        going = np.flatnonzero(at < stops)
        if not len(going):
            break
        at, stops = at.take(going), stops.take(going)
    return np.sort(np.concatenate(found))
