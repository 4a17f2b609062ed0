"""`hostscope traffic`: who sends and receives how much."""

import threading
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import click

from hostscope.cli.endings import ending
from hostscope.cli.options import COMMON, ROWS, Choices, Query, options, parse_query
from hostscope.cli.output import Sink, open_output
from hostscope.cli.progress import progress
from hostscope.cli.refresh import draw, screen
from hostscope.cli.show import FORMS, Showing, exit_code
from hostscope.collectors.traffic import Look, TrafficWatch
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.model.traffic import LEDGER_SCHEMA, TrafficRequest
from hostscope.render.traffic_columns import FLOWS, PROCESS_TRAFFIC, for_quantity, render_balance, render_ledger
from hostscope.session import open_session

METHODS = ("accounting", "wire", "capture", "polling")
HIGHEST_FIRST = ("traffic", "connections")
DEFAULT_INTERVAL_S = 1.0
OBSERVE_S = 1.0

EPILOG = """\b
TARGET is a pid, a name, :PORT (local) or a key; without one all processes are shown, also those that start later.
Without --duration a table is refreshed until interrupted; then the totals stay.

\b
Methods, best first; the coverage says which one it was, and what it cannot see:
  accounting  payload, counted in the kernel (Linux 6.3; CAP_BPF, CAP_PERFMON); short-lived processes included
  wire        packets, counted in the kernel; the ledger balances with the interfaces (besides CAP_NET_RAW)
  capture     packets, copied to us and attributed by the sockets there are (CAP_NET_RAW)
  polling     payload of TCP connections as the kernel tells everyone (no privilege)

\b
Examples: hostscope traffic --duration 5
          hostscope traffic --method wire --duration 5 --ledger
          hostscope traffic --connections --filter 'port == 443' --duration 5 --format json"""


@dataclass(frozen=True)
class Wish:
    """What is shown, and how."""

    query: Query
    connections: bool
    ledger: bool


@click.command("traffic", epilog=EPILOG)
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@options(*ROWS, "interval", "duration", *COMMON)
@click.option("--method", type=click.Choice(METHODS), help="How to measure; the best one there is by default.")
@click.option("--connections", is_flag=True, help="A row for each connection instead of each process.")
@click.option("--interface", "interfaces", multiple=True, metavar="NAME", help="Only this interface; may be repeated.")
@click.option("--ledger", is_flag=True, help="Show how the parts add up to what the interfaces counted.")
@click.option("--no-dns", "names", flag_value=False, default=True, type=bool, help="Learn no names from packets.")
def command(connections: bool, ledger: bool, interfaces: tuple[str, ...], names: bool, **given: Any) -> int:
    """Show how much each process sends and receives, and to whom."""
    wish = _wish(Choices(**given, watch=True), connections, ledger)
    choices = wish.query.choices
    request = TrafficRequest(method=choices.method, interfaces=interfaces, names=names)
    stop = threading.Event()
    with (
        open_session(choices.replay, lower=True) as session,
        ending(stop) as ended,
        session.traffic(request, choices.targets) as watching,
    ):
        if choices.duration is not None or choices.format not in ("table", "ndjson"):
            with progress("measuring traffic", choices) as going:
                wait(watching, choices.duration, stop)
                going.end()
            with open_output(choices.output, session.overriding) as sink:
                code = _write(wish, watching, watching.look(), sink)
        else:
            with open_output(choices.output, session.overriding) as sink:
                code = _live(wish, watching, sink, stop)
    return ended.code or code


def _wish(choices: Choices, connections: bool, ledger: bool) -> Wish:
    if choices.sort in HIGHEST_FIRST:
        choices = replace(choices, sort=f"-{choices.sort}")
    layout: Any = FLOWS if connections else PROCESS_TRAFFIC
    return Wish(parse_query(choices, layout), connections, ledger)


def wait(watching: TrafficWatch, duration_s: float | None, stop: threading.Event) -> None:
    """Until the time is up or somebody stops it; the counters are looked at meanwhile."""
    until = monotonic() + duration_s if duration_s is not None else None
    while until is None or monotonic() < until:
        left = OBSERVE_S if until is None else min(OBSERVE_S, max(0.0, until - monotonic()))
        if stop.wait(left):
            return
        if left == OBSERVE_S:
            watching.observe()


def _live(wish: Wish, watching: TrafficWatch, sink: Sink, stop: threading.Event) -> int:
    """Draws over and over, and leaves the totals behind."""
    choices = wish.query.choices
    interval_s, redraws = choices.interval or DEFAULT_INTERVAL_S, sink.redraws and choices.format == "table"
    with screen(sink if redraws else None):
        while not stop.wait(interval_s):
            showing = _showing(wish, watching, watching.look(), sink, live=True)
            if redraws:
                draw(showing)
            else:
                FORMS[choices.format](showing)
                sink.file.flush()
    return _write(wish, watching, watching.look(), sink)


def _write(wish: Wish, watching: TrafficWatch, look: Look, sink: Sink) -> int:
    showing = _showing(wish, watching, look, sink, live=False)
    FORMS[wish.query.choices.format](showing)
    if wish.ledger and look.ledger and wish.query.choices.format == "table":
        sink.write(f"\n{render_ledger(look.ledger)}\n")
    return exit_code(showing)


def _showing(wish: Wish, watching: TrafficWatch, look: Look, sink: Sink, live: bool) -> Showing:
    query: Query = wish.query
    if query.choices.columns is None:
        names = for_quantity(query.layout, watching.measures, live)
        query = replace(query, columns=query.layout.choose(",".join(names)))
    rows: Any = look.flows if wish.connections else look.processes
    coverage = _noted(watching.coverage(), look)
    return Showing(query, Answer(iter(rows), lambda: coverage), query.selection(), sink, _beside(look))


def _noted(coverage: Coverage, look: Look) -> Coverage:
    from msgspec.structs import replace as changed

    notes = (*coverage.notes, render_balance(look.ledger)) if look.ledger else coverage.notes
    return changed(coverage, notes=notes, elapsed_ns=look.elapsed_ns)


def _beside(look: Look) -> dict[str, Any]:
    """What stands beside the rows in JSON, by the schema it has."""
    return {LEDGER_SCHEMA: look.ledger} if look.ledger else {}
