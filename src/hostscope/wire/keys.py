"""An exact, bounded map from keys of several 64-bit words to row numbers, for whole columns of keys at a time."""

import secrets
from collections.abc import Callable, Sequence

import numpy as np

from hostscope.wire.batch import I64, U64, Mask

Words = Sequence[U64]
"""One column for each word of the keys."""
_SPREAD = 4
"""Slots for each row: with few of them taken nearly every key is found at the first."""
_HALF, _ODD = np.uint64(32), np.uint64(0x9E37_79B9_7F4A_7C15)


class KeyIndex:
    """Keys -> rows 0…capacity-1. Two keys never share a row, whatever their hashes.

    Keys are words of different meaning in a fixed order. A lookup may give fewer words than the table has: then the
    others are not compared, so the first words must tell apart the keys that use them (a flow's family is in one).
    """

    def __init__(self, capacity: int, words: int, forget: Callable[[I64], None]) -> None:
        """`forget` is told the rows that lose their keys, before other keys get them."""
        if capacity < 8:
            raise ValueError("a table of fewer than 8 rows cannot keep those it is working on")
        self.capacity = capacity
        self.step = capacity // 8
        """The most keys that may be placed at one moment, and how many rows are given up at a time."""
        self.words = [np.zeros(capacity, np.uint64) for _ in range(words)]
        self.last_used = np.zeros(capacity, np.int64)
        """The `now` of the last time that each row was placed."""
        self.live = np.zeros(capacity, np.bool_)
        self._forget = forget
        self._hashes = np.zeros(capacity, np.uint64)
        bits = max(4, (capacity * _SPREAD - 1).bit_length())
        self._shift, self._mask = np.uint64(64 - bits), (1 << bits) - 1
        self._slots = np.full(1 << bits, -1, np.int32)
        self._free = np.arange(capacity - 1, -1, -1, dtype=np.int64)
        # Secret, so that nobody can send packets whose keys all meet in one slot.
        self._factors = [np.uint64(secrets.randbits(64) | 1) for _ in range(words)]

    def find(self, key: Words) -> I64:
        """The row of each key, -1 where there is none."""
        return self._find(key, self._hash(key))

    def place(self, key: Words, now: int) -> I64:
        """The row of each key; new keys get rows, if need be of the keys that were not placed for the longest.

        Args:
            key: at most `step` keys in all calls with the same `now`.
            now: never less than before.
        """
        hashes = self._hash(key)
        rows = self._find(key, hashes)
        missing = np.flatnonzero(rows < 0)
        self.last_used[rows[rows >= 0] if len(missing) else rows] = now
        if len(missing) > len(self._free):
            self._evict(self.step)
        while len(missing):
            # One of each hash a round: keys that differ under the same hash wait for the next.
            _, first = np.unique(hashes[missing], return_index=True)
            self._insert([word[missing[first]] for word in key], hashes[missing[first]], now)
            rows[missing] = self._find([word[missing] for word in key], hashes[missing])
            missing = missing[rows[missing] < 0]
        return rows

    def _evict(self, count: int) -> None:
        """Takes out the `count` rows that were not used for the longest."""
        taken = np.flatnonzero(self.live)
        oldest = taken[np.argpartition(self.last_used[taken], count)[:count]]
        self._forget(oldest)
        self.live[oldest] = False
        self._free = np.concatenate([self._free, oldest])
        for word in self.words:
            word[oldest] = 0
        # Linear probing has no holes, so the slots are dealt out again.
        self._slots.fill(-1)
        self._settle(np.flatnonzero(self.live))

    def _hash(self, key: Words) -> U64:
        total = np.zeros(len(key[0]), np.uint64)
        for word, factor in zip(key, self._factors, strict=False):
            # Upper bits of a word would reach only upper bits of a product.
            mixed = word >> _HALF
            mixed ^= word
            mixed *= factor
            total += mixed
        total ^= total >> _HALF
        total *= _ODD
        return total

    def _find(self, key: Words, hashes: U64) -> I64:
        slots = (hashes >> self._shift).astype(np.int64)
        rows = self._slots.take(slots).astype(np.int64)
        open_ = np.flatnonzero((rows >= 0) & ~self._equal(key, rows))
        while len(open_):
            slots[open_] = (slots[open_] + 1) & self._mask
            rows[open_] = self._slots[slots[open_]]
            met = rows[open_]
            open_ = open_[(met >= 0) & ~self._equal([word[open_] for word in key], met)]
        return rows

    def _equal(self, key: Words, rows: I64) -> Mask:
        """Whether each row holds the key; the row -1 is the first, whose answer nobody uses."""
        first, *others = zip(key, self.words, strict=False)
        same: Mask = first[1].take(rows, mode="clip") == first[0]
        for asked, known in others:
            same &= known.take(rows, mode="clip") == asked
        return same

    def _insert(self, key: Words, hashes: U64, now: int) -> None:
        rows, self._free = self._free[-len(hashes) :], self._free[: -len(hashes)]
        for known, asked in zip(self.words, key, strict=False):
            known[rows] = asked
        self._hashes[rows] = hashes
        self.live[rows] = True
        self.last_used[rows] = now
        self._settle(rows)

    def _settle(self, rows: I64) -> None:
        """Gives each row the first free slot from its hash's on."""
        slots = (self._hashes[rows] >> self._shift).astype(np.int64)
        while len(rows):
            vacant = self._slots[slots] < 0
            self._slots[slots[vacant]] = rows[vacant]
            waiting = self._slots[slots] != rows  # taken before, or by another of these rows just now
            rows, slots = rows[waiting], (slots[waiting] + 1) & self._mask
