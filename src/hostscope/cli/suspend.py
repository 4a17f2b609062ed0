"""`hostscope suspend`: stop processes where they are."""

from typing import Any

import click

from hostscope.cli.acts import CODES, TARGETS, act_on, request_of
from hostscope.cli.options import ACTING, options
from hostscope.model.response import SUSPEND

EPILOG = f"""{TARGETS}

{CODES}

Example: hostscope suspend --dry-run sleep"""


@click.command("suspend", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="TARGET...")
@options(*ACTING, "page_format", "output", "reveal", "verbose")
def command(targets: tuple[str, ...], **given: Any) -> int:
    """Stop processes where they are; they stay so when hostscope ends, until they are resumed.

    By SIGSTOP, on Windows by suspending every thread: each suspension needs a resumption of its own.
    """
    return act_on(*request_of(SUSPEND, targets, given))
