"""Which rows are shown, and in which order."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from hostscope.model.coverage import Coverage
from hostscope.render.column import Column
from hostscope.render.layout import Layout

if TYPE_CHECKING:
    from hostscope.render.filter import Filter

Row = TypeVar("Row")
Item = TypeVar("Item")
Get = Callable[[Any], Any]


def _value_at(place: int, entry: tuple[tuple[Any, ...], Any]) -> Any:
    return entry[0][place]


class SortKey(Struct, frozen=True):
    """One column to sort by."""

    column: Column[Any]
    descending: bool


def parse_sort(text: str | None, layout: Layout[Any]) -> tuple[SortKey, ...]:
    """Sort keys from ``-rss,pid``; a minus sorts from high to low.

    Raises:
        UsageError: a name is no column.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    return tuple(SortKey(layout.column(name.lstrip("-+")), name.startswith("-")) for name in names)


class Selection(Generic[Row, Item]):
    """Filters, sorts and cuts rows, and keeps of each only what will be shown."""

    def __init__(self, keep: "Filter | None" = None, order: tuple[SortKey, ...] = (), limit: int | None = None) -> None:
        self.keep = keep
        self.order = order
        self.limit = limit
        self.shown = self.skipped = self.cut = 0

    def select(self, rows: Iterable[Row], item: Callable[[Row], Item]) -> Iterator[Item]:
        """The items of the rows that are left; streams when no order is asked for."""
        kept = self._filtered(rows)
        items = self._sorted(kept, item) if self.order else map(item, kept)
        for shown in items:
            if self.limit is not None and self.shown >= self.limit:
                self.cut += 1
                continue
            self.shown += 1
            yield shown

    def _filtered(self, rows: Iterable[Row]) -> Iterator[Row]:
        if self.keep is None:
            yield from rows
            return
        keep = self.keep.keep
        for row in rows:
            if keep(row):
                yield row
            else:
                self.skipped += 1

    def _sorted(self, rows: Iterable[Row], item: Callable[[Row], Item]) -> Iterator[Item]:
        gets = [key.column.get for key in self.order]
        kept: list[tuple[tuple[Any, ...], Item]] = [(tuple([get(row) for get in gets]), item(row)) for row in rows]
        for place, key in reversed(list(enumerate(self.order))):
            known = [entry for entry in kept if entry[0][place] is not None]
            unknown = [entry for entry in kept if entry[0][place] is None]
            known.sort(key=partial(_value_at, place), reverse=key.descending)
            kept = known + unknown
        return (shown for _, shown in kept)

    def coverage(self, coverage: Coverage) -> Coverage:
        """The answer's coverage with what the selection left out."""
        return replace(
            coverage,
            rows=self.shown,
            skipped=coverage.skipped + self.skipped,
            limited=coverage.limited or self.cut > 0,
        )

    def blind(self, coverage: Coverage) -> bool:
        """Whether an empty result may be empty because something could not be looked at."""
        gaps = tuple(gap.field for gap in coverage.gaps)
        return not coverage.complete or (self.keep is not None and self.keep.touches(gaps))
