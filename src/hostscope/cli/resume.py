"""`hostscope resume`: let stopped processes run on."""

from typing import Any

import click

from hostscope.cli.acts import CODES, TARGETS, act_on, request_of
from hostscope.cli.options import ACTING, options
from hostscope.model.response import RESUME

EPILOG = f"""{TARGETS}

{CODES}

Example: hostscope resume --dry-run sleep"""


@click.command("resume", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="TARGET...")
@options(*ACTING, "page_format", "output", "reveal", "verbose")
def command(targets: tuple[str, ...], **given: Any) -> int:
    """Let stopped processes run on. The guard lets this through for all but kernel threads and PID 1.

    By SIGCONT, on Windows by taking one suspension back from every thread.
    """
    return act_on(*request_of(RESUME, targets, given))
