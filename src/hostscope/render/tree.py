"""Processes by descent: the columns of a process table, with branches before the command."""

from collections.abc import Callable

from msgspec.structs import replace

from hostscope.model.tree import TreeRow
from hostscope.render.column import Column, Value
from hostscope.render.columns import COLUMNS
from hostscope.render.layout import Layout

TREE_SCHEMA = "hostscope.tree_row/1"
_DEEPEST = 40
_BRANCHING = ("command", "argv", "name")


def render_branches(last: tuple[bool, ...]) -> str:
    """``│  └─ `` for the row's place; empty for a root. Deep trees are cut to their last levels."""
    if not last:
        return ""
    shown = last[-_DEEPEST:]
    stem = "… " if len(last) > _DEEPEST else ""
    return stem + "".join("   " if done else "│  " for done in shown[:-1]) + ("└─ " if shown[-1] else "├─ ")


def branch_columns(columns: tuple[Column[TreeRow], ...]) -> tuple[Column[TreeRow], ...]:
    """The columns with the branches drawn in the first one that names the process."""
    branching = next((name for name in _BRANCHING if any(column.name == name for column in columns)), None)
    return tuple(replace(c, get=_branched(c.get)) if c.name == branching else c for c in columns)


def _branched(get: Callable[[TreeRow], Value]) -> Callable[[TreeRow], Value]:
    return lambda row: f"{render_branches(row.last)}{get(row) or '-'}"


def _of_process(get: Callable[..., Value]) -> Callable[[TreeRow], Value]:
    return lambda row: get(row.process)


TREE = Layout(
    "processes",
    TREE_SCHEMA,
    TreeRow,
    tuple(Column(c.name, c.title, c.kind, c.path, c.field, c.doc, _of_process(c.get), c.elsewhere) for c in COLUMNS),
    ("pid", "user", "command"),
)
