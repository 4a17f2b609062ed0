"""`hostscope ps`: every process."""

from typing import Any

import click

from hostscope.cli.options import COLLECTION, COMMON, ROWS, WATCHING, Choices, options, parse_query
from hostscope.cli.show import show
from hostscope.errors import UsageError
from hostscope.render.process_layout import PROCESSES
from hostscope.session import open_session

EPILOG = """\b
TARGET is a pid, a name, :PORT (who has a socket there) or a key
(pid@start); without one every process is shown.

\b
Filters compare columns (see --list-columns) and fields of records:
  rss > 100*MB and user == "root"
  startswith(exe, "/tmp/") or "deleted" in exe_flags
  "sys_admin" in caps
  container.runtime == "docker" and age < 1*H
In a cell, - means that it does not apply, and ? that it could not be read.

\b
Example:
  hostscope ps --filter 'user == "root"' --skip-system --sort -rss --limit 9"""


@click.command("ps", epilog=EPILOG)
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@options(*ROWS, *COLLECTION, *WATCHING, *COMMON)
@click.option("--tree", is_flag=True, help="Show children below their parents.")
def command(tree: bool, **given: Any) -> int:
    """List every process of the host, or those that are named."""
    choices = Choices(**given)
    if tree:
        return _tree(choices)
    query = parse_query(choices, PROCESSES)
    with open_session(choices.replay, choices.reveal, lower=True) as session:
        if choices.watch:
            from hostscope.cli.refresh import watch

            session.limit_to("ps", bool(choices.output))
            return watch(session, query)
        only = session.keys(choices.targets) if choices.targets else None
        return show(session, query, session.processes(query.request(), only=only))


def _tree(choices: Choices) -> int:
    from hostscope.cli.tree import show_tree

    if choices.watch or choices.sort:
        raise UsageError("--tree has its own order and is shown once", "leave --watch and --sort out")
    if len(choices.targets) > 1:
        raise UsageError("--tree shows the processes below one target", "name one")
    return show_tree(choices, *choices.targets or (None,))
