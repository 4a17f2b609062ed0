"""What a column of a table is."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from hostscope.model.gap import Gap, Reason
from hostscope.render.units import render_bytes, render_duration, render_instant, render_latency, render_ratio

Row = TypeVar("Row")
Value = int | float | str | bool | tuple[str, ...] | None
Kind = Literal["int", "bytes", "duration", "latency", "instant", "ratio", "float", "bool", "text", "list"]

NUMBERS = frozenset({"int", "bytes", "duration", "latency", "instant", "ratio", "float"})
"""Kinds whose values are numbers; shown right-aligned."""


def _render_list(values: tuple[str, ...]) -> str:
    return ",".join(values) if values else "none"


RENDERERS: dict[str, Callable[[Any], str]] = {
    "int": str,
    "bytes": render_bytes,
    "duration": render_duration,
    "latency": render_latency,
    "instant": render_instant,
    "ratio": render_ratio,
    "float": "{:.2f}".format,
    "bool": lambda value: "yes" if value else "no",
    "text": str,
    "list": _render_list,
}


class Column(Struct, Generic[Row], frozen=True):
    """One column: how it is called, where its value stands, and how it looks."""

    name: str
    """What is typed after ``--columns``, ``--sort`` and in ``--filter``."""
    title: str
    kind: Kind
    """Units: bytes; durations, and latencies, which are short, in ns; instants in ns since the epoch, UTC; ratios with
    1.0 for one core or the whole."""
    path: str
    """Dotted field of the record, which gaps name."""
    field: str | None
    """The field group that must be collected; None when it is always there."""
    doc: str
    get: Callable[[Row], Value]
    elsewhere: tuple[str, ...] = ()
    """Where the value stands on other systems."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Every field that gaps may name."""
        return (self.path, *self.elsewhere)

    def cell(self) -> Callable[[Row], str]:
        """A function from a record to its unsanitised cell: ``-`` does not apply, ``?`` could not be read."""
        get, render, paths = self.get, RENDERERS[self.kind], self.paths

        def text(row: Row) -> str:
            value = get(row)
            return absent(getattr(row, "gaps", ()), *paths) if value is None else render(value)

        def plain(row: Row) -> str:
            value: Any = get(row)
            return absent(getattr(row, "gaps", ()), *paths) if value is None else value

        return plain if self.kind == "text" else text


def absent(gaps: tuple[Gap, ...], *paths: str) -> str:
    """What stands in a cell without a value."""
    return "?" if gaps and any(gap_of(gaps, path) for path in paths) else "-"


def gap_of(gaps: tuple[Gap, ...], path: str) -> Gap | None:
    """The gap that explains why the field at `path` is missing; None when it just does not apply."""
    for gap in gaps:
        if gap.reason is not Reason.TRUNCATED and covers(gap.field, path):
            return gap
    return None


def covers(field: str, path: str) -> bool:
    """Whether `field` is `path` or contains it."""
    return path == field or path.startswith(field + ".")


def value_at(path: str) -> Callable[[Any], Any]:
    """Reads a field; None where what it belongs to is None."""
    whole_path, _, name = path.rpartition(".")
    get: Callable[[Any], Any] = attrgetter(name)
    if not whole_path:
        return get
    return _made_from(value_at(whole_path), get)


def _made_from(whole: Callable[[Any], Any], get: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(record: Any) -> Any:
        found = whole(record)
        return None if found is None else get(found)

    return read


def column_at(name: str, title: str, kind: Kind, path: str, field: str | None, doc: str) -> Column[Any]:
    """One whose value stands at its path."""
    return Column(name, title, kind, path, field, doc, value_at(path))


def column_of(
    context: str,
    system: str,
    name: str,
    title: str,
    kind: Kind,
    path: str,
    field: str,
    doc: str,
    get: Callable[[Any], Value] | None = None,
) -> Column[Any]:
    """One of a single system: at `path` of the record's `context`, unless `get` makes it from that."""
    place = f"{context}.{path}"
    read = value_at(place) if get is None else _made_from(value_at(context), get)
    return Column(name, title, kind, place, field, f"{system}: {doc}", read)
