"""Counting what a sweep sees, while it sees it."""

from collections.abc import Iterable
from time import monotonic_ns

from hostscope.model.coverage import Coverage, GapCount
from hostscope.model.gap import Gap, Reason
from hostscope.model.request import FIELDS


class Tally:
    """Counts of one answer; `coverage` freezes them."""

    def __init__(self) -> None:
        self.method = "none"
        self.method_reason: str | None = None
        self.seen = self.denied = self.vanished = self.failed = self.lost = self.skipped = self.rows = 0
        self.limited = False
        self.hidden: str | None = None
        self.effects: list[str] = []
        self.notes: list[str] = []
        self._gaps: dict[tuple[str, Reason], tuple[int, str | None]] = {}
        self._began_ns = monotonic_ns()

    def count_gaps(self, gaps: Iterable[Gap]) -> None:
        """Adds the gaps of one row."""
        for gap in gaps:
            rows, detail = self._gaps.get((gap.field, gap.reason), (0, gap.detail))
            self._gaps[gap.field, gap.reason] = (rows + 1, detail)

    def note(self, text: str) -> None:
        """Keeps one line for people, once, and at most a hundred of them."""
        if text not in self.notes and len(self.notes) < 100:
            self.notes.append(text)

    def coverage(self, wanted: frozenset[str] | None = None) -> Coverage:
        """What was counted so far; `wanted` tells which field groups were not asked for."""
        return Coverage(
            method=self.method,
            method_reason=self.method_reason,
            seen=self.seen,
            rows=self.rows,
            denied=self.denied,
            vanished=self.vanished,
            failed=self.failed,
            lost=self.lost,
            skipped=self.skipped,
            limited=self.limited,
            hidden=self.hidden,
            not_asked=() if wanted is None else tuple(sorted(FIELDS.keys() - wanted)),
            gaps=tuple(GapCount(*place, rows, detail) for place, (rows, detail) in sorted(self._gaps.items())),
            effects=tuple(self.effects),
            notes=tuple(self.notes),
            elapsed_ns=monotonic_ns() - self._began_ns,
        )
