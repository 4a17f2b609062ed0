"""`hostscope record`: what the host answers, kept in a file."""

import os
from typing import Any

import click

from hostscope.cli.options import Choices, options, parse_fields
from hostscope.cli.progress import progress
from hostscope.cli.show import say, strict_code
from hostscope.errors import UsageError
from hostscope.model.request import FULL, ProcessRequest
from hostscope.render.coverage import render_coverage
from hostscope.session import open_session

EPILOG = """\b
The file is readable by its owner only. Secrets in arguments are masked unless --reveal, for root and
administrators.

Example: hostscope record host.hscope --force && hostscope ps --replay host.hscope"""


@click.command("record", epilog=EPILOG)
@click.argument("file")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@options("method", "fields", "enhanced", "reveal", "replay", "strict", "quiet", "verbose")
def command(file: str, force: bool, **given: Any) -> int:
    """Write what the host answers to FILE, for --replay."""
    choices = Choices(**given)
    if os.path.lexists(file) and not force:
        raise UsageError(f"{file} is there already", "give --force to replace it")
    fields = FULL if choices.fields is None else parse_fields(choices.fields)
    with (
        open_session(choices.replay, choices.reveal, lower=True) as session,
        progress(f"recording to {os.path.basename(file)}", choices),
    ):
        coverage = session.record(file, ProcessRequest(fields, choices.enhanced, method=choices.method))
    if not choices.quiet:
        say(f"{file}: {render_coverage(coverage, 'processes')}")
    return strict_code(coverage) if choices.strict else 0
