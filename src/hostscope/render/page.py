"""What pages are made of: headings, facts, and small tables."""

from collections.abc import Iterable, Iterator, Sequence

from hostscope.model.gap import Gap
from hostscope.render.column import gap_of
from hostscope.render.sanitise import sanitise
from hostscope.render.table import BOLD, RESET, WIDEST, Style, display_width

Fact = tuple[str, str | None]
"""A label and its value; None leaves the fact out."""
_INDENT = "  "


def section(title: str, lines: Iterable[str], style: Style) -> Iterator[str]:
    """A heading and indented lines; nothing without lines."""
    shown = list(lines)
    if shown:
        yield f"\n{BOLD}{title}{RESET}\n" if style.colour else f"\n{title}\n"
        yield from (f"{_INDENT}{line}\n" for line in shown)


def facts(pairs: Iterable[Fact]) -> list[str]:
    """Aligned lines of labels and values, sanitised."""
    shown = [(sanitise(label), value) for label, value in pairs if value is not None]
    width = min(max((len(label) for label, _ in shown), default=0), WIDEST)
    return [f"{label:<{width}}  {sanitise(value)}" for label, value in shown]


def grid(titles: Sequence[str], rows: Iterable[Sequence[str]], most: int | None = None) -> list[str]:
    """Aligned lines under titles, sanitised; more than `most` rows are counted instead of shown."""
    kept = [[sanitise(cell) for cell in row] for row in rows]
    if not kept:
        return []
    shown = [list(titles), *(kept if most is None else kept[:most])]
    widths = [min(max(map(display_width, column)), WIDEST) for column in zip(*shown, strict=True)]
    more = [f"and {len(kept) - most} more (--format json shows all)"] if most is not None and len(kept) > most else []
    return [_aligned(row, widths) for row in shown] + more


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell + " " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()


def missing(gaps: tuple[Gap, ...], path: str, label: str) -> Fact:
    """The fact that something could not be read, with the reason; left out when it just does not apply."""
    gap = gap_of(gaps, path)
    return label, f"? {describe(gap)}" if gap else None


def describe(gap: Gap) -> str:
    """``denied (needs CAP_SYS_PTRACE)``."""
    return f"{gap.reason} ({gap.detail})" if gap.detail else str(gap.reason)
