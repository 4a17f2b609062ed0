"""What `--help` prints."""

from collections.abc import Iterator

import click
import pytest

from hostscope.cli.main import COMMANDS, cli

WIDTH = 78
"""What click takes of a terminal with 80 columns."""
SETTINGS = cli.context_settings | {"terminal_width": WIDTH, "max_content_width": WIDTH}


def pages(command: click.Command, above: click.Context | None, name: str) -> Iterator[tuple[str, str]]:
    context = click.Context(command, above, name, **SETTINGS)
    yield context.command_path, command.get_help(context)
    for below, subcommand in getattr(command, "commands", {}).items():
        yield from pages(subcommand, context, below)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_terminal(name: str) -> None:
    """Lines that are longer would be broken in the middle of a word."""
    top = click.Context(cli, info_name="hostscope", **SETTINGS)
    command = cli.get_command(top, name) if name else cli
    assert command is not None
    for path, text in pages(command, top if name else None, name or "hostscope"):
        assert [line for line in text.splitlines() if len(line) > WIDTH] == [], path
