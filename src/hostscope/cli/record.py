"""`hostscope record`: what the host answers, kept in a file."""

import os
import sys
from typing import IO, Any

import click

from hostscope.cli.options import Choices, options, parse_fields
from hostscope.cli.progress import progress
from hostscope.cli.show import say, strict_code
from hostscope.errors import UsageError
from hostscope.model.request import FULL, ProcessRequest
from hostscope.render.coverage import render_coverage
from hostscope.render.sanitise import sanitise
from hostscope.session import open_session

EPILOG = """\b
The file is readable by its owner only; - is standard output, for a pipe to
another host. Secrets in arguments are masked unless --reveal, for root and
administrators.

\b
Example:
  hostscope record host.hscope && hostscope ps --replay host.hscope"""


@click.command("record", epilog=EPILOG)
@click.argument("file")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@options("method", "fields", "enhanced", "reveal", "replay", "strict", "quiet", "verbose")
def command(file: str, force: bool, **given: Any) -> int:
    """Write what the host answers to FILE, for --replay."""
    choices = Choices(**given)
    place = _place(file, force)
    fields = FULL if choices.fields is None else parse_fields(choices.fields)
    with (
        open_session(choices.replay, choices.reveal, lower=True) as session,
        progress("recording", choices),
    ):
        coverage = session.record(place, ProcessRequest(fields, choices.enhanced, method=choices.method))
    if not choices.quiet:
        say(f"{sanitise(file)}: {render_coverage(coverage, 'processes')}")
    return strict_code(coverage) if choices.strict else 0


def _place(file: str, force: bool) -> str | IO[bytes]:
    """Where the recording goes.

    Raises:
        UsageError: there is a file already, or it would go to a terminal.
    """
    if file == "-":
        if sys.stdout.isatty():
            raise UsageError("a recording is not for a terminal", "name a file, or give it a pipe")
        return sys.stdout.buffer
    if os.path.lexists(file) and not force:
        raise UsageError(f"{file} is there already", "give --force to replace it")
    return file
