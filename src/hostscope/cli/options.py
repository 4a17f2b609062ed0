"""Every option, once: the same word means the same everywhere."""

from collections.abc import Callable
from math import isnan
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from hostscope import log
from hostscope.errors import UsageError
from hostscope.model.request import BASIC, ENHANCED, FIELDS, FULL, ProcessRequest
from hostscope.render.column import Column
from hostscope.render.layout import Layout, closest, field_groups
from hostscope.render.select import Selection, SortKey, parse_sort

if TYPE_CHECKING:
    from hostscope.render.filter import Filter

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
POSITIVE = click.IntRange(min=1)


class _Seconds(click.FloatRange):
    """A range that NaN, which no comparison excludes, is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is no number of seconds.", param, ctx) if isnan(seconds) else seconds


def _columns(decorated: Decorated) -> Decorated:
    """Which there are is always told beside which are wanted."""
    shown = click.option("--columns", metavar="A,B", help="Columns to show; +A adds one, all shows all.")
    listed = click.option("--list-columns", is_flag=True, help="Show every column with what it means.")
    return shown(listed(decorated))


SECONDS = _Seconds(min=0.05, max=86_400)

FORMATS = ("table", "json", "ndjson", "csv", "tsv", "parquet")

OPTIONS: dict[str, Callable[[Any], Any]] = {
    "format": click.option("--format", type=click.Choice(FORMATS), default="table", help="Form of the output."),
    "page_format": click.option(
        "--format", type=click.Choice(("table", "json")), default="table", help="Form of the output."
    ),
    "output": click.option("--output", metavar="FILE", help="Write to a private file, whole or not at all."),
    "filter": click.option("--filter", "filter_", metavar="EXPR", help="Show rows for which this holds."),
    "sort": click.option("--sort", metavar="COLUMN", help="Sort by columns; a minus before one: highest first."),
    "columns": _columns,
    "limit": click.option("--limit", type=POSITIVE, metavar="N", help="Show at most so many rows."),
    "method": click.option("--method", metavar="NAME", help="How: iterator, proc; Windows: native, toolhelp."),
    "fields": click.option("--fields", metavar="A,B", help="Field groups to collect: basic, full, enhanced, or names."),
    "enhanced": click.option("--enhanced", is_flag=True, help="Collect everything, slow fields included."),
    "max_processes": click.option("--max-processes", type=POSITIVE, metavar="N", help="Read at most so many."),
    "skip_system": click.option("--skip-system", is_flag=True, help="Leave out kernel threads."),
    "replay": click.option("--replay", metavar="FILE", help="Ask a recording instead of this host."),
    "strict": click.option("--strict", is_flag=True, help="Exit with 8 when anything could not be seen."),
    "reveal": click.option("--reveal", is_flag=True, help="Show secrets: of yours, or all as root or administrator."),
    "quiet": click.option("--quiet", is_flag=True, help="Do not say what was covered."),
    "verbose": click.option("-v", "--verbose", count=True, help="Say more on standard error; twice for all."),
    "watch": click.option("--watch", is_flag=True, help="Show it again and again, until interrupted."),
    "interval": click.option("--interval", type=SECONDS, metavar="S", help="Seconds between two looks."),
    "duration": click.option("--duration", type=SECONDS, metavar="S", help="Stop watching after so many seconds."),
    "tree": click.option("--tree", is_flag=True, help="Act on all descendants as well."),
    "container": click.option("--container", metavar="ID", help="Act on every process of a container: id or name."),
    "grace": click.option(
        "--grace",
        type=_Seconds(min=0, max=3600),
        metavar="S",
        help="Seconds between asking and forcing; 0 forces at once. Default: 5, for a tree or container 0.",
    ),
    "no_force": click.option("--no-force", is_flag=True, help="Ask only; what has not ended after the grace stays."),
    "reason": click.option("--reason", metavar="TEXT", help="Why; goes to the audit trail."),
    "override": click.option(
        "--override", multiple=True, metavar="RULE", help="Set one of the guard's rules aside; goes to the audit trail."
    ),
    "evidence": click.option(
        "--evidence", metavar="DIR", help="Preserve each process in this folder first; if that fails, do nothing."
    ),
    "dry_run": click.option("--dry-run", is_flag=True, help="Show the plan and what the guard says; do nothing."),
    "yes": click.option("--yes", is_flag=True, help="Do not ask; without a terminal it is needed."),
}

COMMON = ("replay", "strict", "quiet", "verbose")
ROWS = ("format", "output", "filter", "sort", "columns", "limit")
COLLECTION = ("method", "fields", "enhanced", "max_processes", "skip_system", "reveal")
ACTING = ("tree", "container", "reason", "override", "evidence", "dry_run", "yes")
WATCHING = ("watch", "interval", "duration")


def options(*names: str) -> Callable[[Decorated], Decorated]:
    """Adds options by their names in `OPTIONS`, in this order."""

    def add(decorated: Decorated) -> Decorated:
        for name in reversed(names):
            decorated = OPTIONS[name](decorated)
        return decorated

    return add


class Choices(Struct, frozen=True):
    """The values of all options; those that a command does not have keep their defaults."""

    format: str = "table"
    output: str | None = None
    filter_: str | None = None
    sort: str | None = None
    columns: str | None = None
    list_columns: bool = False
    limit: int | None = None
    method: str | None = None
    fields: str | None = None
    enhanced: bool = False
    max_processes: int | None = None
    skip_system: bool = False
    replay: str | None = None
    strict: bool = False
    reveal: bool = False
    quiet: bool = False
    verbose: int = 0
    watch: bool = False
    interval: float | None = None
    duration: float | None = None
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        log.configure(self.verbose)
        if self.duration is not None and not self.watch:
            raise UsageError("--duration says how long to watch", "add --watch")

    def filter(self, layout: Layout[Any]) -> "Filter | None":
        """The compiled filter. Raises `QueryError`."""
        if self.filter_ is None:
            return None
        from hostscope.render.filter import parse_filter  # brings the ast module along

        return parse_filter(self.filter_, layout)


class Query(Struct, frozen=True):
    """What is asked about a table, checked before anything is read."""

    layout: Layout[Any]
    columns: tuple[Column[Any], ...]
    keep: "Filter | None"
    order: tuple[SortKey, ...]
    choices: Choices

    @property
    def whole_records(self) -> bool:
        """Whether rows are shown as records with all their fields instead of as columns."""
        return self.choices.format in ("json", "ndjson") and self.choices.columns is None

    def selection(self) -> Selection[Any, Any]:
        """A fresh selection of rows."""
        return Selection(self.keep, self.order, self.choices.limit)

    def fields(self) -> frozenset[str]:
        """The field groups that the answer needs, and no more."""
        needed = field_groups(tuple(key.column for key in self.order))
        if self.keep:
            needed |= self.keep.fields
        if not self.whole_records:
            needed |= field_groups(self.columns)
        if self.choices.fields is not None:
            return needed | parse_fields(self.choices.fields)
        return needed | BASIC if self.whole_records else needed

    def request(self) -> ProcessRequest:
        """The request for processes that follows from all options."""
        return ProcessRequest(
            fields=self.fields(),
            enhanced=self.choices.enhanced,
            max_processes=self._most(),
            skip_system_processes=self.choices.skip_system,
            method=self.choices.method,
            sample_ns=int((self.choices.interval or 0.5) * 1e9) if self.samples else None,
        )

    @property
    def samples(self) -> bool:
        """Whether a share of processor time is asked for, which takes two looks."""
        shown = () if self.whole_records else self.columns
        used = {column.path for column in (*shown, *(key.column for key in self.order))}
        return "cpu.ratio" in used or (self.keep is not None and "cpu.ratio" in self.keep.paths)

    def _most(self) -> int | None:
        """Without targets, filter and order the limit can already stop the reading."""
        limits = [self.choices.max_processes]
        if self.keep is None and not self.order and not self.choices.targets:
            limits.append(self.choices.limit)
        return min((limit for limit in limits if limit is not None), default=None)


def parse_query(choices: Choices, layout: Layout[Any]) -> Query:
    """Checks columns, filter and order.

    Raises:
        UsageError, QueryError
        click.exceptions.Exit: the columns were asked for, and are shown.
    """
    if choices.list_columns:
        click.echo(_columns_help(layout))
        raise click.exceptions.Exit(0)
    if choices.format == "parquet":
        from hostscope.render.parquet import load_arrow

        load_arrow()
    if choices.fields is not None:
        parse_fields(choices.fields)
    columns = layout.choose(choices.columns)
    return Query(layout, columns, choices.filter(layout), parse_sort(choices.sort, layout), choices)


def _columns_help(layout: Layout[Any]) -> str:
    """Every column with its kind and meaning."""
    width = max(len(name) for name in layout.names())
    return "\n".join(f"{column.name:{width}} {column.kind:9} {column.doc}" for column in layout.columns)


_SETS: dict[str, frozenset[str]] = {"basic": BASIC, "full": FULL, "enhanced": ENHANCED, "all": frozenset(FIELDS)}


def parse_fields(text: str) -> frozenset[str]:
    """Field groups from ``full,digest``.

    Raises:
        UsageError: a name is no field group.
    """
    groups: set[str] = set()
    for name in (name.strip() for name in text.split(",") if name.strip()):
        if name not in FIELDS and name not in _SETS:
            raise UsageError(f"there is no field group {name!r}", f"groups: {closest(name, (*_SETS, *FIELDS))}")
        groups |= _SETS.get(name, {name})
    return frozenset(groups)
