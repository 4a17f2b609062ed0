"""`hostscope counters`: the host's counters."""

from typing import Any

import click

from hostscope.cli.options import COMMON, Choices, options, parse_query
from hostscope.cli.output import open_output
from hostscope.cli.show import show, strict_code
from hostscope.errors import UsageError
from hostscope.render.coverage import render_coverage
from hostscope.render.host_page import render_counters
from hostscope.render.layouts import COUNTERS, NAMED_COUNTERS
from hostscope.session import open_session

LOOK_S = 1.0
"""Between the two looks of a rate."""

EPILOG = """\b
Examples:
  hostscope counters --format json
  hostscope counters --counter '\\Memory\\Available Bytes' --interval 2
"""


@click.command("counters", epilog=EPILOG)
@click.option(
    "--counter",
    "counters",
    multiple=True,
    metavar="NAME",
    help="A counter of the system's own instead (Windows: its English name, * for all instances).",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    metavar="SECONDS",
    help="Between the two looks that rates of such counters need; 1.",
)
@options("format", "output", "columns", *COMMON)
def command(counters: tuple[str, ...], interval: float | None, **given: Any) -> int:
    """Show the host's counters: processor, memory, load, pressure, disks."""
    choices = Choices(**given)
    if counters:
        query = parse_query(choices, NAMED_COUNTERS)
        with open_session(choices.replay, lower=True) as session:
            return show(session, query, session.named_counters(counters, LOOK_S if interval is None else interval))
    if interval is not None:
        raise UsageError("--interval is for the rates of --counter", "name one, or leave it out")
    return _host_counters(choices)


def _host_counters(choices: Choices) -> int:
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
