"""`hostscope inspect`: everything about one process."""

from typing import Any

import click

from hostscope.cli.options import Choices, options
from hostscope.cli.output import open_output
from hostscope.cli.progress import progress
from hostscope.errors import Incomplete
from hostscope.model.inspection import PROCESS_SCHEMA, ProcessInspection
from hostscope.render.documents import encode_json
from hostscope.render.process_page import render_process
from hostscope.session import open_session

EPILOG = """\b
TARGET is a pid, a name, :PORT (what listens there) or a key (pid@start, as
the page shows it).

Example: hostscope inspect 1"""


@click.command("inspect", epilog=EPILOG)
@click.argument("target")
@click.option("--signatures", is_flag=True, help="Judge its program and its modules; reads these files.")
@options("page_format", "output", "method", "replay", "strict", "reveal", "verbose")
def command(target: str, signatures: bool, **given: Any) -> int:
    """Show everything about one process, and why it runs."""
    choices = Choices(**given)
    with (
        open_session(choices.replay, choices.reveal, lower=True) as session,
        progress("looking at the process", choices),
    ):
        inspection = session.inspect(target, choices.method, signatures)
    with open_output(choices.output, session.overriding) as sink:
        if choices.format == "json":
            sink.write(encode_json({"schema": PROCESS_SCHEMA, "inspection": inspection}), b"\n")
        else:
            sink.write(render_process(inspection, sink.style()))
    return Incomplete.exit_code if choices.strict and _has_gaps(inspection) else 0


def _has_gaps(inspection: ProcessInspection) -> bool:
    return bool(inspection.gaps or inspection.process.gaps or inspection.detail.gaps)
