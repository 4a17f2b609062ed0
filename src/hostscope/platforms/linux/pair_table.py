"""The elements in which bpf/traffic.bpf.c counts: memory that the kernel shares with us, read without system calls.

An element is found by a hash, or where it was found last. So one that is freed first loses its cookie, which no program
believes any longer, then its place in the hash. A program that found it before may still count in it: it keeps its
counters for a while, and they are ours until then; only when they are empty may the element be used again.
"""

import struct
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from hostscope.platforms.linux.count_table import Drop, TakenOut, crowded, joined, long_idle
from hostscope.platforms.linux.loader import Programs

LEAVING_NS = 1_000_000_000
"""How long programs may still hold an element that cannot be found any more; they run for less than a microsecond."""
PAIR = struct.Struct("=24s40s")
"""Key and counts: four counters and the tick of the last use."""
_COOKIE_BYTES, _KEY_BYTES, _INDEX, _TICK, _LAST_OFFSET = 8, 24, struct.Struct("=I"), struct.Struct("=Q"), 32
_NOBODY = bytes(_COOKIE_BYTES)
_DESCRIPTION_OFFSET = 8
_SIZED = ("pairs", "known", "freed")


class _Leaving(NamedTuple):
    key: bytes
    element: int
    until_ns: int


def sizes(most: int) -> dict[str, int]:
    """Entries of the maps for so many pairs. Cost: 64 bytes of kernel memory for each, 150 more when it is used."""
    return dict.fromkeys(_SIZED, most)


class PairTable:
    """What was ever counted for pairs of a process and a socket, up to twice what the kernel's table holds."""

    def __init__(self, programs: Programs, drop: Drop) -> None:
        """`drop` is told key and counts of what finds no room in the kernel and none here."""
        self._entries = programs.map("pairs").entries
        self._memory, self._next = programs.memory("pairs"), programs.variable("next")
        self._known, self._freed = programs.map("known"), programs.map("freed")
        self._leaving: deque[_Leaving] = deque()
        self._taken_out = TakenOut(self._entries, drop)

    def read(self) -> dict[bytes, bytes]:
        """Counts by key. Cost: no system call, 0.3 µs an element."""
        self._free()
        found = {key: counts for key, counts in self._elements() if not key.startswith(_NOBODY)}
        for key, index, _ in self._leaving:
            now, counts = found.get(key), self._counts(index)
            found[key] = counts if now is None else joined(counts, now)
        self._taken_out.add_to(found)
        return found

    def describe(self, key: bytes) -> bytes | None:
        """The kernel's description of a pair; None when it is not in its table. Cost: one system call."""
        known = self._known.lookup(key)
        return known[_DESCRIPTION_OFFSET:] if known else None

    def make_room(self) -> None:
        """Takes out what has been idle for longest when there are many; their descriptions are gone then."""
        if not crowded(self._used() - len(self._leaving), self._entries):
            return
        used = [
            (_TICK.unpack_from(counts, _LAST_OFFSET)[0], (key, index))
            for index, (key, counts) in enumerate(self._elements())
            if not key.startswith(_NOBODY)
        ]
        if crowded(len(used), self._entries):
            for key, index in long_idle(used, self._entries):
                self._take_out(key, index)

    def _used(self) -> int:
        """How many elements were ever used. Two programs that take the last one at once may count beyond it."""
        return min(self._next.value, self._entries)

    def _elements(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and counts of all elements that were ever used, in their order."""
        with memoryview(self._memory) as whole, whole[: self._used() * PAIR.size] as part:
            yield from PAIR.iter_unpack(part)

    def _counts(self, index: int) -> bytes:
        at = index * PAIR.size
        return self._memory[at + _KEY_BYTES : at + PAIR.size]

    def _take_out(self, key: bytes, index: int) -> None:
        at = index * PAIR.size
        self._memory[at : at + _COOKIE_BYTES] = _NOBODY
        self._known.delete(key)
        self._leaving.append(_Leaving(key, index, time.monotonic_ns() + LEAVING_NS))

    def _free(self) -> None:
        """Gives back the elements in which nobody counts any longer; the system call comes after they are emptied."""
        now = time.monotonic_ns()
        while self._leaving and self._leaving[0].until_ns <= now:
            key, index, _ = self._leaving.popleft()
            self._taken_out.keep(key, self._counts(index))
            at = index * PAIR.size
            self._memory[at : at + PAIR.size] = bytes(PAIR.size)
            self._freed.push(_INDEX.pack(index))
