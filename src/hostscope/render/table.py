"""Aligned text: made for ten thousand rows, laid out only as far as it is shown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from unicodedata import combining, east_asian_width

from msgspec import Struct

from hostscope.render.column import NUMBERS, Column
from hostscope.render.sanitise import sanitise

Row = TypeVar("Row")
Cells = tuple[str, ...]

BOLD, DIM, RED, YELLOW, RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
WIDEST = 256
"""No column makes room for more: else every line is as long as the arguments of one process, or its variables' names,
which may be a megabyte. What is longer moves what stands behind it on its own line."""
_CHUNK = 512
_GAP = "  "


class Style(Struct, frozen=True):
    """What the place the text goes to can show."""

    colour: bool = False
    width: int | None = None
    """Characters of a line; None does not cut."""


PLAIN = Style()


def cells_of(columns: Sequence[Column[Row]]) -> Callable[[Row], Cells]:
    """A function from a record to its sanitised cells. Cost: about 0.2 us for a cell."""
    texts = tuple(column.cell() for column in columns)

    def cells(row: Row) -> Cells:
        found = [text(row) for text in texts]
        joined = "".join(found)
        if joined.isascii() and joined.isprintable():
            return tuple(found)
        return tuple([sanitise(text) for text in found])

    return cells


def render_table(columns: Sequence[Column[Any]], rows: Iterable[Cells], style: Style = PLAIN) -> Iterator[str]:
    """The table in pieces of many lines; cells must be sanitised.

    Numbers stand right, text left; the last column is not padded, and cut at the width of the style.
    """
    kept = list(rows)
    titles = tuple(column.title for column in columns)
    lines = _lines(columns, [titles, *kept])
    head = _cut(next(lines), style.width)
    yield f"{BOLD}{head}{RESET}\n" if style.colour else head + "\n"
    chunk: list[str] = []
    for line in lines:
        chunk.append(_cut(line, style.width))
        if len(chunk) == _CHUNK:
            yield "\n".join(chunk) + "\n"
            chunk.clear()
    if chunk:
        yield "\n".join(chunk) + "\n"


def _lines(columns: Sequence[Column[Any]], rows: list[Cells]) -> Iterator[str]:
    widths = [min(_width_of(cells), WIDEST) for cells in zip(*rows, strict=True)]
    numeric = [column.kind in NUMBERS for column in columns]
    layout = _GAP.join(_place(width, number) for width, number in zip(widths[:-1], numeric[:-1], strict=True))
    layout += (_GAP if len(columns) > 1 else "") + (_place(widths[-1], True) if numeric[-1] else "%s")
    for row in rows:
        line = layout % row
        yield (line if line.isascii() else _padded(row, widths, numeric)).rstrip(" ")


def _place(width: int, number: bool) -> str:
    return f"%{width}s" if number else f"%-{width}s"


def _width_of(cells: Sequence[str]) -> int:
    return max(map(len if "".join(cells).isascii() else display_width, cells))


def _padded(row: Cells, widths: list[int], numeric: list[bool]) -> str:
    """A line with characters that are not one cell wide."""
    parts = []
    for text, width, number in zip(row, widths, numeric, strict=True):
        space = " " * (width - display_width(text))
        parts.append(space + text if number else text + space)
    return _GAP.join(parts)


def display_width(text: str) -> int:
    """Cells of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _cut(line: str, width: int | None) -> str:
    if width is None or (len(line) <= width and line.isascii()) or display_width(line) <= width:
        return line
    if line.isascii():
        return line[: width - 1] + "…"
    shown, room = [], width - 1
    for character in line:
        room -= _character_width(character)
        if room < 0:
            break
        shown.append(character)
    return "".join(shown) + "…"
