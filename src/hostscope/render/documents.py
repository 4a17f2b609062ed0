"""JSON, NDJSON, CSV and TSV: stable, versioned, and harmless on a terminal."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hostscope.model.coverage import Coverage
from hostscope.render.column import Column
from hostscope.render.sanitise import sanitise, sanitise_json

COVERAGE_SCHEMA = "hostscope.coverage/1"
COLUMNS_SCHEMA = "hostscope.columns/1"
_ENCODER = msgspec.json.Encoder()
_CHUNK = 256
NOTHING: Mapping[str, Any] = {}


def encode_json(value: Any) -> bytes:
    """One JSON value on one line, safe to look at."""
    return sanitise_json(_ENCODER.encode(value))


def values_of(columns: Sequence[Column[Any]]) -> Callable[[Any], dict[str, Any]]:
    """A function from a record to its values by column name, units as stored."""
    places = tuple((column.name, column.get) for column in columns)
    return lambda row: {name: get(row) for name, get in places}


def render_json(
    schema: str, rows: Iterable[bytes], coverage: Callable[[], Coverage], beside: Mapping[str, Any] = NOTHING
) -> Iterator[bytes]:
    """One document: ``{"schema":…, "rows":[…], "coverage":{…}}``, one row a line; `rows` are encoded already.

    What is `beside`, by schema, stands between them by its record's name: ``"ledger":{…}``.
    Nothing is given before the first rows are there: what fails at once leaves no half document.
    """
    chunks = _joined(rows, b",\n")
    first = next(chunks, b"")
    yield b'{"schema":' + encode_json(schema) + b',"rows":[\n' + first
    yield from chunks
    yield b"\n]" + b"".join(b"," + encode_json(_name_of(place)) + b":" + encode_json(beside[place]) for place in beside)
    yield b',"coverage":' + encode_json(coverage()) + b"}\n"


def render_ndjson(
    schema: str, rows: Iterable[bytes], coverage: Callable[[], Coverage], beside: Mapping[str, Any] = NOTHING
) -> Iterator[bytes]:
    """One object a line: ``{"type":"row","schema":…,"row":{…}}``, what is `beside` by schema, and the coverage last."""
    head = b'{"type":"row","schema":' + encode_json(schema) + b',"row":'
    yield from _joined((head + row + b"}\n" for row in rows), b"")
    for place, record in beside.items():
        yield encode_json({"type": _name_of(place), "schema": place, _name_of(place): record}) + b"\n"
    yield encode_coverage(coverage())


def _name_of(schema: str) -> str:
    """``hostscope.ledger/1`` -> ``ledger``."""
    return schema.removeprefix("hostscope.").partition("/")[0]


def encode_coverage(coverage: Coverage) -> bytes:
    """The line of NDJSON that tells what was covered."""
    return encode_json({"type": "coverage", "schema": COVERAGE_SCHEMA, "coverage": coverage}) + b"\n"


def _joined(rows: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """Rows with separators between, in pieces of many."""
    chunk: list[bytes] = []
    first = True
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield (b"" if first else separator) + separator.join(chunk)
            first = False
            chunk.clear()
    if chunk:
        yield (b"" if first else separator) + separator.join(chunk)


def csv_cells(columns: Sequence[Column[Any]], guard: bool = True) -> Callable[[Any], tuple[str, ...]]:
    """A function from a record to sanitised cells: numbers as stored, lists joined by blanks, absent values empty.

    With `guard`, a text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    places = tuple((column.get, guard and column.kind in ("text", "list")) for column in columns)
    return lambda row: tuple([_csv_cell(get(row), guarded) for get, guarded in places])


def _csv_cell(value: Any, guarded: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = sanitise(" ".join(value) if isinstance(value, tuple) else str(value))
    return "'" + text if guarded and text[:1] in _FORMULA and text else text


_FORMULA = frozenset("=+-@")


class _Lines:
    """A file for the csv module that keeps what was written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, text: str) -> int:
        self._parts.append(text)
        return len(text)

    def take(self) -> str:
        text = "".join(self._parts)
        self._parts.clear()
        return text


def render_csv(columns: Sequence[Column[Any]], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """RFC 4180 with a header of column names; lines end in ``\\n``."""
    import csv  # of all forms only this one needs it

    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for count, row in enumerate(rows, 1):
        writer.writerow(row)
        if count % _CHUNK == 0:
            yield lines.take()
    yield lines.take()


def render_tsv(columns: Sequence[Column[Any]], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A header of column names, tabs between cells, no quoting: sanitised cells hold neither tabs nor newlines."""
    head = "\t".join(column.name for column in columns) + "\n"
    for row in rows:
        yield head + "\t".join(row) + "\n"
        head = ""
    yield head
