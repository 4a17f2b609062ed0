"""Calls added up, as ``strace -c`` shows them."""

from collections.abc import Iterator

from msgspec import Struct

from hostscope.model.event import SystemCall


class CallTotal(Struct):
    """All calls of one name."""

    call: str
    calls: int = 0
    errors: int = 0
    time_ns: int = 0


class CallSummary:
    """Totals by name."""

    def __init__(self) -> None:
        self._totals: dict[str, CallTotal] = {}

    def add(self, call: SystemCall) -> None:
        """Counts one call."""
        total = self._totals.get(call.call)
        if total is None:
            total = self._totals[call.call] = CallTotal(call.call)
        total.calls += 1
        total.errors += call.error is not None
        total.time_ns += call.duration_ns or 0

    def totals(self) -> list[CallTotal]:
        """The longest first."""
        return sorted(self._totals.values(), key=lambda total: (-total.time_ns, -total.calls, total.call))


def render_summary(summary: CallSummary) -> Iterator[str]:
    """A table with a line for each call, and one for all of them."""
    totals = summary.totals()
    whole = sum(total.time_ns for total in totals)
    rule = "------ ----------- ----------- --------- --------- ----------------\n"
    yield "% time     seconds  usecs/call     calls    errors syscall\n" + rule
    for total in totals:
        yield _line(total, whole)
    every = CallTotal("total", sum(t.calls for t in totals), sum(t.errors for t in totals), whole)
    yield rule + _line(every, whole)


def _line(total: CallTotal, whole: int) -> str:
    share = 100 * total.time_ns / whole if whole else 0.0
    each = total.time_ns // 1000 // total.calls if total.calls else 0
    errors = total.errors or ""
    return f"{share:6.2f} {total.time_ns / 1e9:11.6f} {each:11d} {total.calls:9d} {errors:>9} {total.call}\n"
