"""`hostscope tree`: processes by descent."""

from collections.abc import Iterable, Iterator
from typing import Any

import click
from msgspec.structs import replace

from hostscope.cli.options import COLLECTION, COMMON, Choices, Query, options, parse_query
from hostscope.cli.output import open_output
from hostscope.cli.progress import progress
from hostscope.cli.show import FORMS, Showing, exit_code, strict_code
from hostscope.collectors.lineage import arrange, subtree
from hostscope.errors import Incomplete
from hostscope.model.answer import Answer
from hostscope.model.process import Process
from hostscope.model.tree import TreeRow
from hostscope.render.process_layout import PROCESSES
from hostscope.render.select import Selection
from hostscope.render.tree import TREE, branch_columns
from hostscope.session import open_session

EPILOG = """\b
A filter selects rows before they are arranged; a process whose parent is
left out becomes a root.

Example: hostscope tree --columns pid,user,rss,command --skip-system"""


@click.command("tree", epilog=EPILOG)
@click.argument("target", required=False)
@options("format", "output", "filter", "columns", "limit", *COLLECTION, *COMMON)
def command(target: str | None, **given: Any) -> int:
    """Show processes by descent: all, or those below TARGET (a pid, a name, :PORT or a key)."""
    return show_tree(Choices(**given), target)


def show_tree(choices: Choices, target: str | None) -> int:
    """Writes the tree; the exit code that follows from what it covers."""
    asked = parse_query(choices, PROCESSES)
    drawn = replace(parse_query(replace(choices, filter_=None), TREE), keep=None)
    if choices.format == "table":
        drawn = replace(drawn, columns=branch_columns(drawn.columns))
    with (
        open_session(choices.replay, choices.reveal, lower=True) as session,
        open_output(choices.output, session.overriding) as sink,
        progress("reading processes", choices) as going,
    ):
        sink.before = going.end
        root = session.process(target).key.pid if target else None
        kept: Selection[Process, Process] = Selection(asked.keep)
        answer = going.over(session.processes(_request(asked, drawn)))
        rows = Answer[TreeRow](
            _rows(kept.select(answer, lambda row: row), root), lambda: kept.coverage(answer.coverage)
        )
        showing = Showing(drawn, rows, drawn.selection(), sink)
        FORMS[choices.format](showing)
    if kept.keep is not None and kept.shown == 0 and kept.blind(answer.coverage):
        return Incomplete.exit_code
    return strict_code(showing.coverage()) if choices.strict else exit_code(showing)


def _rows(processes: Iterable[Process], root: int | None) -> Iterator[TreeRow]:
    rows = arrange(processes)
    return rows if root is None else subtree(rows, root)


def _request(asked: Query, drawn: Query) -> Any:
    from msgspec.structs import replace as changed

    request = asked.request()
    # A limit cuts the drawing; every process is needed to arrange it.
    return changed(request, fields=request.fields | drawn.fields(), max_processes=asked.choices.max_processes)
