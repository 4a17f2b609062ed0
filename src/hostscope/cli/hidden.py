"""`hostscope hidden`: processes that some ways of looking do not show."""

from typing import Any

import click

from hostscope.cli.options import Choices, options, parse_query
from hostscope.cli.output import open_output
from hostscope.cli.progress import progress
from hostscope.cli.show import FORMS, Showing, findings_code
from hostscope.render.layouts import FINDINGS
from hostscope.session import open_session

EPILOG = """\b
Compares ways of looking that should agree. Linux: the kernel's iterator,
the listing of /proc, each pid, control groups; Windows: the kernel's list,
Toolhelp, EnumProcesses, each pid. Exits with 10 when one of them does not
show a process, 11 when besides not everything could be looked at, 8 when
nothing was found but not everything could be.

Example: hostscope hidden --format json"""


@click.command("hidden", epilog=EPILOG)
@options("format", "output", "replay", "quiet", "verbose")
def command(**given: Any) -> int:
    """Look for processes that some ways of looking do not show."""
    choices = Choices(**given)
    query = parse_query(choices, FINDINGS)
    with (
        open_session(choices.replay, lower=True) as session,
        open_output(choices.output, session.overriding) as sink,
        progress("looking for hidden processes", choices) as going,
    ):
        sink.before = going.end
        showing = Showing(query, session.hidden(), query.selection(), sink)
        FORMS[choices.format](showing)
    return findings_code(showing.coverage(), showing.selection.shown)
