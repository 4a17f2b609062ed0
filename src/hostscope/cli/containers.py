"""`hostscope containers`: every container."""

from typing import Any

import click

from hostscope.cli.options import COMMON, ROWS, Choices, options
from hostscope.cli.tables import show_table


@click.command("containers", epilog="Example: hostscope containers --filter 'runtime == \"docker\"'")
@options(*ROWS, *COMMON)
def command(**given: Any) -> int:
    """List containers, as the runtimes' local state and control groups show them."""
    return show_table("containers", Choices(**given))
