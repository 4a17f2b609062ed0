"""`hostscope doctor`: what hostscope can do here."""

from typing import Any

import click

from hostscope.cli.options import Choices, options
from hostscope.cli.output import open_output
from hostscope.errors import Incomplete
from hostscope.model.inspection import HOST_SCHEMA
from hostscope.render.documents import encode_json
from hostscope.render.host_page import render_host
from hostscope.session import open_session


@click.command("doctor", epilog="Example: hostscope doctor --format json")
@options("page_format", "output", "replay", "strict", "verbose")
def command(**given: Any) -> int:
    """Say what hostscope can do here, why not more, and what enables the rest."""
    choices = Choices(**given)
    with open_session(choices.replay, lower=True) as session:
        inspection = session.host()
    with open_output(choices.output, session.overriding) as sink:
        if choices.format == "json":
            sink.write(encode_json({"schema": HOST_SCHEMA, "host": inspection}), b"\n")
        else:
            sink.write(render_host(inspection, sink.style()))
    lacking = any(not ability.available for ability in inspection.abilities)
    return Incomplete.exit_code if choices.strict and (inspection.gaps or lacking) else 0
