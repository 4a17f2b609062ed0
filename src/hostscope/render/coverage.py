"""What an answer covers, in one or two lines for people."""

from collections.abc import Iterator

from hostscope.model.coverage import Coverage, GapCount
from hostscope.render.sanitise import sanitise
from hostscope.render.units import render_elapsed

_NAMED = 4
_SINGULAR = {"processes": "process", "capabilities": "capability", "matches": "match"}


def render_coverage(coverage: Coverage, noun: str) -> str:
    """``312 processes by iterator in 9 ms; 4 denied; 12 gaps: 8 exe denied, 4 io denied`` and a line for each note."""
    counts = [f"{count_of(coverage.rows, noun)} by {coverage.method} in {render_elapsed(coverage.elapsed_ns)}"]
    counts += list(_counts(coverage))
    if coverage.gaps:
        counts.append(render_gaps(coverage.gaps))
    lines = ["; ".join(counts)]
    if coverage.method_reason:
        lines.append(f"method: {coverage.method_reason}")
    if coverage.hidden:
        lines.append(f"may be incomplete: {coverage.hidden}")
    return "\n".join(sanitise(line) for line in [*lines, *coverage.notes])


def count_of(rows: int, noun: str) -> str:
    """``1 process``, ``2 processes``."""
    return f"{rows} {noun}" if rows != 1 else f"1 {_SINGULAR.get(noun, noun.removesuffix('s'))}"


def _counts(coverage: Coverage) -> Iterator[str]:
    if coverage.denied:
        yield f"{coverage.denied} denied"
    if coverage.vanished:
        yield f"{coverage.vanished} ended meanwhile"
    if coverage.failed:
        yield f"{coverage.failed} failed"
    if coverage.lost:
        yield f"{coverage.lost} lost"
    if coverage.skipped:
        yield f"{coverage.skipped} left out"
    if coverage.limited:
        yield "cut short by a limit"


def render_gaps(gaps: tuple[GapCount, ...]) -> str:
    """``12 gaps: 8 exe denied, 4 io denied``, the most frequent first."""
    most = sorted(gaps, key=lambda gap: -gap.rows)
    named = [f"{gap.rows} {gap.field} {gap.reason}" for gap in most[:_NAMED]]
    more = [f"{len(most) - _NAMED} more kinds"] if len(most) > _NAMED else []
    total = sum(gap.rows for gap in gaps)
    return f"{total} gap{'s' * (total != 1)}: {', '.join(named + more)}"
