"""A table of counters in the kernel that is never let fill up: what has been idle for long is taken out and kept here.

Elements begin with four counters of 64 bits, which add up when something that was taken out comes back.
"""

import struct
import time
from collections.abc import Callable
from operator import itemgetter

from hostscope.platforms.linux.bpf_maps import Map

IDLE_S = 30
"""What was not used for so long may be taken out."""
CLOCK_MONOTONIC_COARSE = 6
"""Its resolution is the kernel's timer tick, which nothing else tells; Python has no name for it."""
_CROWDED, _ROOMY = 0.5, 0.25
_COUNTERS, _TICK = struct.Struct("=4Q"), struct.Struct("=Q")

Drop = Callable[[bytes, bytes], None]


def tick_ns() -> int:
    """Length of a tick of the kernel's timer."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1e9)


class CountTable:
    """Everything that was ever counted in a hash, up to twice what the hash holds."""

    def __init__(self, table: Map, last_offset: int, drop: Drop) -> None:
        """Reads `table`.

        Args:
            last_offset: where in a value the tick of its last use stands.
            drop: told key and value of what finds no room here either.
        """
        self._table, self._last_offset, self._drop = table, last_offset, drop
        self._idle_ticks = IDLE_S * 1_000_000_000 // tick_ns()
        self._kept: dict[bytes, bytes] = {}

    def read(self) -> dict[bytes, bytes]:
        """Values by key. Cost: a system call for each MiB, 0.3 µs an element."""
        key_bytes, value_bytes = self._table.key_bytes, self._table.stride_bytes
        found: dict[bytes, bytes] = {}
        for number, keys, values in self._table.pieces():
            for n in range(number):
                found[keys[n * key_bytes : (n + 1) * key_bytes]] = values[n * value_bytes : (n + 1) * value_bytes]
        if len(found) > self._table.entries * _CROWDED:
            self._make_room(found)
        return self._with_kept(found) if self._kept else found

    def _with_kept(self, found: dict[bytes, bytes]) -> dict[bytes, bytes]:
        for key, value in self._kept.items():
            now = found.get(key)
            found[key] = value if now is None else _joined(value, now)
        return found

    def _make_room(self, found: dict[bytes, bytes]) -> None:
        """Takes out what has been idle for longest.

        What is counted in the microsecond between the last look and the removal is not seen.
        """
        offset = self._last_offset
        ticks = sorted(((_TICK.unpack_from(value, offset)[0], key) for key, value in found.items()), key=itemgetter(0))
        surplus = len(ticks) - int(self._table.entries * _ROOMY)
        idle_since = ticks[-1][0] - self._idle_ticks
        for last, key in ticks[:surplus]:
            if last >= idle_since:
                return
            value = self._table.lookup(key)
            if value is not None and self._table.delete(key):
                self._keep(key, value)
                del found[key]

    def _keep(self, key: bytes, value: bytes) -> None:
        before = self._kept.pop(key, None)
        self._kept[key] = value if before is None else _joined(before, value)
        if len(self._kept) > self._table.entries:
            oldest = next(iter(self._kept))
            self._drop(oldest, self._kept.pop(oldest))


def _joined(before: bytes, now: bytes) -> bytes:
    """The later value, with the counters of both."""
    sums = (
        first + second for first, second in zip(_COUNTERS.unpack_from(before), _COUNTERS.unpack_from(now), strict=True)
    )
    return _COUNTERS.pack(*sums) + now[_COUNTERS.size :]
