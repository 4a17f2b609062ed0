"""Rates of interfaces: what their counters gained between two looks."""

from collections.abc import Iterable, Iterator
from time import perf_counter_ns

from msgspec.structs import replace

from hostscope.model.interface import Interface, InterfaceCounters, InterfaceRates

_Place = tuple[int | None, int, str]


class Rates:
    """The last look at every interface."""

    def __init__(self) -> None:
        self._last: dict[_Place, tuple[int, InterfaceCounters]] = {}

    def take(self, rows: Iterable[Interface]) -> Iterator[Interface]:
        """The rows with `rates` against the look before; None for interfaces that were not there, or began again."""
        last, self._last = self._last, {}
        for row in rows:
            if row.counters is None:
                yield row
                continue
            place, now_ns = (row.net_ns, row.index, row.name), perf_counter_ns()
            self._last[place] = (now_ns, row.counters)
            before = last.get(place)
            rates = rates_between(before[1], row.counters, now_ns - before[0]) if before else None
            yield replace(row, rates=rates) if rates else row


def rates_between(before: InterfaceCounters, after: InterfaceCounters, elapsed_ns: int) -> InterfaceRates | None:
    """Gains a second; None when a counter went back, which means that it is another interface, or no time passed."""
    gained = (
        after.received_bytes - before.received_bytes,
        after.sent_bytes - before.sent_bytes,
        after.received_packets - before.received_packets,
        after.sent_packets - before.sent_packets,
        after.received_errors + after.sent_errors - before.received_errors - before.sent_errors,
        after.received_drops + after.sent_drops - before.received_drops - before.sent_drops,
    )
    if elapsed_ns <= 0 or min(gained) < 0:
        return None
    return InterfaceRates(*(gain * 1e9 / elapsed_ns for gain in gained))
