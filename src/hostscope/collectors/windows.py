"""Rolling windows: how much moved in the last second, minute and hour, for rates and sparklines."""

from collections.abc import Hashable, Iterator
from typing import NamedTuple

SPANS: tuple[tuple[int, int], ...] = ((100_000_000, 10), (1_000_000_000, 60), (60_000_000_000, 60))
"""Length of a slot in ns, and how many there are: 100 ms × 10, 1 s × 60, 1 min × 60."""


class Window:
    """The last slots of one length. What falls between two observations is spread over the slots in between."""

    def __init__(self, slot_ns: int, slots: int) -> None:
        self.slot_ns, self.slots = slot_ns, slots
        self._amounts = [0.0] * slots
        self._newest = -1
        """Number of the newest slot, counted from the clock's zero."""

    def add(self, from_ns: int, to_ns: int, amount: int) -> None:
        """Spreads an amount evenly over the time in which it moved."""
        self._advance(to_ns)
        if not amount:
            return
        span_ns = max(1, to_ns - from_ns)
        for slot in range(max(from_ns // self.slot_ns, self._newest - self.slots + 1), self._newest + 1):
            begin_ns, end_ns = max(from_ns, slot * self.slot_ns), min(to_ns, (slot + 1) * self.slot_ns)
            share = 1.0 if from_ns >= to_ns else max(0, end_ns - begin_ns) / span_ns
            self._amounts[slot % self.slots] += amount * share

    def rates(self, now_ns: int) -> tuple[float, ...]:
        """Amounts a second, oldest first; of the slot that is not over yet, for the part of it that is."""
        self._advance(now_ns)
        if self._newest < 0:
            return (0.0,) * self.slots
        first = self._newest - self.slots + 1
        whole = [self._amounts[slot % self.slots] * 1e9 / self.slot_ns for slot in range(first, self._newest)]
        passed_ns = now_ns - self._newest * self.slot_ns
        newest = self._amounts[self._newest % self.slots] * 1e9 / passed_ns if passed_ns > 0 else 0.0
        return (*whole, newest)

    def _advance(self, now_ns: int) -> None:
        """Empties the slots that have begun since the last time."""
        slot = now_ns // self.slot_ns
        for begun in range(max(self._newest + 1, slot - self.slots + 1), slot + 1):
            self._amounts[begun % self.slots] = 0.0
        self._newest = max(self._newest, slot)


class Total(NamedTuple):
    """A counter as it was last seen."""

    at_ns: int
    amount: int


class History:
    """The windows of one counter that only grows."""

    def __init__(self, began_ns: int) -> None:
        self.windows = tuple(Window(*span) for span in SPANS)
        self._last = Total(began_ns, 0)
        self.last_grown_ns = 0
        """When it was last seen to have grown."""

    def observe(self, now_ns: int, amount: int) -> None:
        """Takes the counter as it is now; one that shrank has begun anew."""
        grown = amount - self._last.amount if amount >= self._last.amount else amount
        for window in self.windows:
            window.add(self._last.at_ns, now_ns, grown)
        if grown:
            self.last_grown_ns = now_ns
        self._last = Total(now_ns, amount)


class Histories:
    """Histories of many counters; of those over `most`, the ones that have not grown for longest are dropped."""

    def __init__(self, began_ns: int, most: int = 4096) -> None:
        self._began_ns, self._most = began_ns, most
        self._of: dict[Hashable, History] = {}
        self.evicted = 0

    def observe(self, key: Hashable, now_ns: int, amount: int) -> History:
        """The history of a counter, which is at `amount` now."""
        history = self._of.get(key)
        if history is None:
            history = self._of[key] = History(self._began_ns)
        history.observe(now_ns, amount)
        if len(self._of) > self._most:
            self._evict(key)
        return history

    def begin(self, now_ns: int) -> None:
        """Counters that come from now on began at this moment."""
        self._began_ns = now_ns

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def _evict(self, kept: Hashable) -> None:
        """A tenth at once, so that this is rare."""
        idle = sorted((key for key in self._of if key != kept), key=lambda key: self._of[key].last_grown_ns)
        for key in idle[: max(1, self._most // 10)]:
            del self._of[key]
            self.evicted += 1
