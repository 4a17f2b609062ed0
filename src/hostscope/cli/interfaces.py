"""`hostscope interfaces`: network interfaces of every namespace."""

from functools import partial
from typing import Any

import click

from hostscope.cli.options import COMMON, ROWS, WATCHING, Choices, options, parse_query
from hostscope.cli.refresh import DEFAULT_INTERVAL_S, watch
from hostscope.cli.show import show
from hostscope.render.interface_columns import INTERFACES, WITH_RATES
from hostscope.session import open_session

BETWEEN_S = 1.0
"""Between the two looks of ``--rates``."""


@click.command("interfaces", epilog="Example: hostscope interfaces --filter 'state == \"up\"' --sort -received")
@click.option("--rates", is_flag=True, help="Look twice, one second or --interval apart: rates between the looks.")
@options(*ROWS, *WATCHING, *COMMON)
def command(rates: bool, **given: Any) -> int:
    """List network interfaces of every network namespace; with --watch again and again, with rates."""
    choices = Choices(**given)
    if (rates or choices.watch) and choices.columns is None and choices.format == "table":
        choices = Choices(**{**given, "columns": WITH_RATES})
    query = parse_query(choices, INTERFACES)
    interval_s = choices.interval
    with open_session(choices.replay, lower=True) as session:
        if choices.watch:
            session.limit_to("interfaces", bool(choices.output))
            return watch(session, query, partial(session.interface_looks, interval_s=interval_s or DEFAULT_INTERVAL_S))
        between_ns = int((interval_s or BETWEEN_S) * 1e9) if rates else None
        return show(session, query, session.interfaces(between_ns))
