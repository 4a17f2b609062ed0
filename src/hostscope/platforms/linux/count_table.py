"""A table of counters in the kernel that is never let fill up: what has been idle for long is taken out and kept here.

Elements begin with four counters of 64 bits, which add up when something that was taken out comes back.
"""

import struct
import time
from collections.abc import Callable
from operator import itemgetter
from typing import TypeVar

from hostscope.platforms.linux.bpf_maps import Map

IDLE_S = 30
"""What was not used for so long may be taken out."""
CLOCK_MONOTONIC_COARSE = 6
"""Its resolution is the kernel's timer tick, which nothing else tells; Python has no name for it."""
_CROWDED, _ROOMY = 0.5, 0.25
_COUNTERS, _TICK = struct.Struct("=4Q"), struct.Struct("=Q")

Drop = Callable[[bytes, bytes], None]
Element = TypeVar("Element")


def tick_ns() -> int:
    """Length of a tick of the kernel's timer."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1e9)


def crowded(count: int, entries: int) -> bool:
    """Whether a table should be made room in."""
    return count > entries * _CROWDED


def long_idle(used: list[tuple[int, Element]], entries: int) -> list[Element]:
    """What to take out of a table: the ones idle for longest, until it is roomy, but none that was in use lately.

    Args:
        used: the tick of each element's last use.
        entries: how many elements the table has room for.
    """
    used = sorted(used, key=itemgetter(0))
    surplus = max(0, len(used) - int(entries * _ROOMY))
    idle_since = used[-1][0] - IDLE_S * 1_000_000_000 // tick_ns() if used else 0
    return [element for last, element in used[:surplus] if last < idle_since]


def joined(before: bytes | None, now: bytes) -> bytes:
    """The later value, with the counters of both."""
    if before is None:
        return now
    sums = (
        first + second for first, second in zip(_COUNTERS.unpack_from(before), _COUNTERS.unpack_from(now), strict=True)
    )
    return _COUNTERS.pack(*sums) + now[_COUNTERS.size :]


class TakenOut:
    """What was taken out of a table, up to as much as that holds."""

    def __init__(self, most: int, drop: Drop) -> None:
        """`drop` is told key and value of what finds no room here either."""
        self._most, self._drop = most, drop
        self._kept: dict[bytes, bytes] = {}

    def keep(self, key: bytes, value: bytes) -> None:
        """Adds what was taken out."""
        self._kept[key] = joined(self._kept.pop(key, None), value)
        if len(self._kept) > self._most:
            oldest = next(iter(self._kept))
            self._drop(oldest, self._kept.pop(oldest))

    def add_to(self, found: dict[bytes, bytes]) -> None:
        """Puts everything back to what is still in the table."""
        for key, value in self._kept.items():
            now = found.get(key)
            found[key] = value if now is None else joined(value, now)


class CountTable:
    """Everything that was ever counted in a hash, up to twice what the hash holds."""

    def __init__(self, table: Map, last_offset: int, drop: Drop) -> None:
        """Reads `table`.

        Args:
            last_offset: where in a value the tick of its last use stands.
            drop: told key and value of what finds no room here either.
        """
        self._table, self._last_offset = table, last_offset
        self._taken_out = TakenOut(table.entries, drop)

    def read(self) -> dict[bytes, bytes]:
        """Values by key. Cost: a system call for each MiB, 0.3 µs an element."""
        key_bytes, value_bytes = self._table.key_bytes, self._table.stride_bytes
        found: dict[bytes, bytes] = {}
        for number, keys, values in self._table.pieces():
            for n in range(number):
                found[keys[n * key_bytes : (n + 1) * key_bytes]] = values[n * value_bytes : (n + 1) * value_bytes]
        if crowded(len(found), self._table.entries):
            self._make_room(found)
        self._taken_out.add_to(found)
        return found

    def _make_room(self, found: dict[bytes, bytes]) -> None:
        """Takes out what has been idle for longest.

        What is counted in the microsecond between the last look and the removal is not seen.
        """
        used = [(_TICK.unpack_from(value, self._last_offset)[0], key) for key, value in found.items()]
        for key in long_idle(used, self._table.entries):
            value = self._table.lookup(key)
            if value is not None and self._table.delete(key):
                self._taken_out.keep(key, value)
                del found[key]
