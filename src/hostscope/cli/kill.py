"""`hostscope kill`: end processes, never the wrong one."""

from typing import Any

import click

from hostscope.cli.acts import CODES, TARGETS, act_on, request_of
from hostscope.cli.options import ACTING, options
from hostscope.model.response import TERMINATE

EPILOG = f"""{TARGETS}

A tree is stopped from the top down until nothing new turns up, then ended from the bottom up. A container is ended by
the kernel at once where it has a control group of its own, else like a tree. What a process started
before it ended itself is nobody's child any more, and in no tree; its container has it.

{CODES}

Example: hostscope kill --dry-run --tree sleep"""


@click.command("kill", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="TARGET...")
@options(*ACTING, "grace", "no_force", "page_format", "output", "reveal", "verbose")
def command(targets: tuple[str, ...], **given: Any) -> int:
    """Ask processes to end, and force those that have not after a grace.

    Asking is SIGTERM, on Windows WM_CLOSE to the windows that a process has; forcing is SIGKILL or TerminateProcess.
    """
    return act_on(*request_of(TERMINATE, targets, given))
