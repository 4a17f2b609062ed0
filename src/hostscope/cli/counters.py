"""`hostscope counters`: the host's counters."""

from typing import Any

import click

from hostscope.cli.options import COMMON, Choices, options, parse_query
from hostscope.cli.output import open_output
from hostscope.cli.show import show, strict_code
from hostscope.render.coverage import render_coverage
from hostscope.render.host_page import render_counters
from hostscope.render.layouts import COUNTERS
from hostscope.session import open_session


@click.command("counters", epilog="Example: hostscope counters --format json")
@options("format", "output", "columns", *COMMON)
def command(**given: Any) -> int:
    """Show the host's counters: processor, memory, load, pressure, disks."""
    choices = Choices(**given)
    query = parse_query(choices, COUNTERS)
    with open_session(choices.replay, lower=True) as session:
        answer = session.counters()
        if choices.format != "table" or choices.columns:
            return show(session, query, answer)
        with open_output(choices.output, session.overriding) as sink:
            sink.write_all(render_counters(counters) for counters in answer)
            if not choices.quiet:
                sink.write(f"\n{render_coverage(answer.coverage, COUNTERS.noun)}\n")
        return strict_code(answer.coverage) if choices.strict else 0
