"""Rows of an answer onto the output, in the form that was asked for."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from hostscope.cli.options import Query
from hostscope.cli.output import Sink, open_output
from hostscope.cli.progress import progress
from hostscope.errors import Incomplete, UsageError
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.render import documents
from hostscope.render.coverage import render_coverage
from hostscope.render.select import Selection
from hostscope.render.table import DIM, RESET, cells_of, render_table
from hostscope.session.local import LocalSession

FINDINGS, FINDINGS_INCOMPLETE = 10, 11


class Showing(Struct, frozen=True):
    """One answer on its way to the output."""

    query: Query
    answer: Answer[Any]
    selection: Selection[Any, Any]
    sink: Sink
    beside: Mapping[str, Any] = documents.NOTHING
    """What JSON holds beside the rows, by schema."""

    def items(self, item: Callable[[Any], Any]) -> Iterator[Any]:
        """What is shown of each selected row."""
        return self.selection.select(self.answer, item)

    def coverage(self) -> Coverage:
        """Known when the rows are through."""
        return self.selection.coverage(self.answer.coverage)

    @property
    def schema(self) -> str:
        """Of a row."""
        return self.query.layout.schema if self.query.whole_records else documents.COLUMNS_SCHEMA

    def encode(self) -> Callable[[Any], bytes]:
        """A function from a row to JSON."""
        if self.query.whole_records:
            return documents.encode_json
        values = documents.values_of(self.query.columns)
        return lambda row: documents.encode_json(values(row))


def show(session: LocalSession, query: Query, answer: Answer[Any]) -> int:
    """Writes the answer; the exit code that follows from what it covers."""
    form = FORMS[query.choices.format]
    with (
        open_output(query.choices.output, session.overriding) as sink,
        progress(f"reading {query.layout.noun}", query.choices) as going,
    ):
        sink.before = going.end
        showing = Showing(query, going.over(answer), query.selection(), sink)
        form(showing)
    return exit_code(showing)


def exit_code(showing: Showing) -> int:
    """0; 8 when nothing was found and not everything could be looked at, or when strict and anything is missing."""
    coverage, selection = showing.coverage(), showing.selection
    if selection.keep is not None and selection.shown == 0 and selection.blind(coverage):
        return Incomplete.exit_code
    return strict_code(coverage) if showing.query.choices.strict else 0


def strict_code(coverage: Coverage) -> int:
    """8 when anything could not be seen; a limit that was asked for is no gap."""
    unseen = coverage.gaps or coverage.denied or coverage.failed or coverage.lost or coverage.hidden
    return Incomplete.exit_code if unseen else 0


def findings_code(coverage: Coverage, findings: int) -> int:
    """10 with findings, 11 when besides not everything could be seen; 8 when that is why there may be none."""
    whole = coverage.complete and not coverage.gaps
    if findings:
        return FINDINGS if whole else FINDINGS_INCOMPLETE
    return 0 if whole else Incomplete.exit_code


def say(text: str) -> None:
    """One or more lines to people, beside the output."""
    print(text, file=sys.stderr)  # noqa: T201


def footer(showing: Showing) -> str:
    """What the answer covers, in words."""
    return render_coverage(showing.coverage(), showing.query.layout.noun)


def _table(showing: Showing) -> None:
    columns, style = showing.query.columns, showing.sink.style()
    showing.sink.write_all(render_table(columns, showing.items(cells_of(columns)), style))
    if not showing.query.choices.quiet:
        text = footer(showing)
        showing.sink.write(f"\n{DIM}{text}{RESET}\n" if style.colour else f"\n{text}\n")


def _json(showing: Showing) -> None:
    items = showing.items(showing.encode())
    showing.sink.write_all(documents.render_json(showing.schema, items, showing.coverage, showing.beside))


def _ndjson(showing: Showing) -> None:
    items = showing.items(showing.encode())
    showing.sink.write_all(documents.render_ndjson(showing.schema, items, showing.coverage, showing.beside))


def _csv(showing: Showing) -> None:
    columns = showing.query.columns
    showing.sink.write_all(documents.render_csv(columns, showing.items(documents.csv_cells(columns))))
    _say_coverage(showing)


def _tsv(showing: Showing) -> None:
    columns = showing.query.columns
    showing.sink.write_all(documents.render_tsv(columns, showing.items(documents.csv_cells(columns, guard=False))))
    _say_coverage(showing)


def _parquet(showing: Showing) -> None:
    from hostscope.render.parquet import write_parquet

    if showing.sink.terminal:
        raise UsageError("Parquet is not for a terminal", "give --output FILE")
    columns = showing.query.columns
    gets = tuple(column.get for column in columns)
    rows = showing.items(lambda row: tuple([get(row) for get in gets]))
    write_parquet(showing.sink.file, columns, rows, showing.query.layout.schema, showing.coverage)
    _say_coverage(showing)


def _say_coverage(showing: Showing) -> None:
    if not showing.query.choices.quiet:
        say(footer(showing))


FORMS: dict[str, Callable[[Showing], None]] = {
    "table": _table,
    "json": _json,
    "ndjson": _ndjson,
    "csv": _csv,
    "tsv": _tsv,
    "parquet": _parquet,
}
