"""`hostscope traffic`: who sends and receives how much."""

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from hostscope.cli.endings import ending
from hostscope.cli.options import COMMON, ROWS, Choices, Query, options, parse_query
from hostscope.cli.output import Sink, open_output
from hostscope.cli.progress import progress
from hostscope.cli.refresh import draw, screen
from hostscope.cli.show import FORMS, Showing, exit_code
from hostscope.collectors.traffic import Look, TrafficWatch, addresses_of, with_names
from hostscope.errors import UsageError
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.model.traffic import LEDGER_SCHEMA, TrafficRequest
from hostscope.render.traffic_columns import FLOWS, PROCESS_TRAFFIC, for_quantity, render_balance, render_ledger
from hostscope.session import open_session
from hostscope.session.local import LocalSession

if TYPE_CHECKING:
    from hostscope.collectors.reverse_names import ReverseNames

METHODS = ("accounting", "wire", "etw", "ntstat", "capture", "polling")
HIGHEST_FIRST = ("traffic", "connections")
DEFAULT_INTERVAL_S = 1.0

EPILOG = """\b
TARGET is a pid, a name, :PORT (local) or a key; without one all processes
are shown, also those that start later. Without --duration a table is
refreshed until interrupted; then the totals stay.

\b
Methods, best first; the coverage says which it was, and what it cannot see:
  accounting  payload, counted in the kernel; short-lived processes included
              (Linux 6.3; CAP_BPF, CAP_PERFMON)
  wire        packets, counted in the kernel; the ledger balances with the
              interfaces (Linux; CAP_BPF, CAP_PERFMON, CAP_NET_RAW)
  etw         payload, by the kernel's events; short-lived processes too
              (Windows; an administrator)
  ntstat      payload, counted in the kernel for each connection, as nettop
              shows it (macOS; root)
  capture     packets, copied to us and attributed by the sockets there are,
              on macOS by the kernel's own word for each packet, PKTAP
              (CAP_NET_RAW; an administrator; root)
  polling     payload of TCP connections as the kernel tells everyone
              (no privilege)

\b
Examples:
  hostscope traffic --duration 5
  hostscope traffic --method wire --duration 5 --ledger
  hostscope traffic --connections --filter 'remote_port == 443' --duration 5"""


@dataclass(frozen=True)
class Wish:
    """What is shown, and how."""

    query: Query
    connections: bool
    ledger: bool
    names: "ReverseNames | None" = None
    """Asks for the names that were not learnt."""


@click.command("traffic", epilog=EPILOG)
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@options(*ROWS, "interval", "duration", *COMMON)
@click.option("--method", type=click.Choice(METHODS), help="How to measure; the best one there is by default.")
@click.option("--connections", is_flag=True, help="A row for each connection instead of each process.")
@click.option(
    "--interface", "interfaces", multiple=True, metavar="NAME", help="Only packets of this interface; may be repeated."
)
@click.option("--ledger", is_flag=True, help="Show how the parts add up to what the interfaces counted.")
@click.option(
    "--dns/--no-dns",
    "names",
    default=None,
    help="Learn names from DNS answers even if only they are looked at for that, or none at all.",
)
@click.option("--resolve", is_flag=True, help="Ask the host's resolvers for other names: this sends packets.")
@click.option(
    "--read",
    "file",
    metavar="FILE",
    help="Read a pcap or pcapng file instead of measuring; processes are those that its comments name.",
)
def command(
    connections: bool, ledger: bool, interfaces: tuple[str, ...], names: bool | None, resolve: bool, file: str | None,
    **given: Any,
) -> int:  # fmt: skip
    """Show how much each process sends and receives, and to whom."""
    if file is not None and (given["method"] or given["duration"] or interfaces):
        raise UsageError("--read shows a file as it is", "leave --method, --duration and --interface out")
    wish = _wish(Choices(**given, watch=True), connections, ledger, resolve)
    choices = wish.query.choices
    request = TrafficRequest(method=choices.method, interfaces=interfaces, names=names)
    stop = threading.Event()
    with (
        open_session(choices.replay, lower=True) as session,
        ending(stop) as ended,
        _measuring(session, request, choices, file) as watching,
    ):
        if file is not None or choices.duration is not None or choices.format not in ("table", "ndjson"):
            if file is None:
                with progress("measuring traffic", choices):
                    wait(watching, choices.duration, stop)
            with open_output(choices.output, session.overriding) as sink:
                code = _write(wish, watching, watching.look(), sink)
        else:
            with open_output(choices.output, session.overriding) as sink:
                code = _live(wish, watching, sink, stop)
    return ended.code or code


def _measuring(
    session: LocalSession, request: TrafficRequest, choices: Choices, file: str | None
) -> AbstractContextManager[TrafficWatch]:
    if file is None:
        session.limit_to("traffic", bool(choices.output))
    return session.traffic(request, choices.targets, file)


def _wish(choices: Choices, connections: bool, ledger: bool, resolve: bool) -> Wish:
    if choices.sort in HIGHEST_FIRST:
        choices = replace(choices, sort=f"-{choices.sort}")
    layout: Any = FLOWS if connections else PROCESS_TRAFFIC
    names = None
    if resolve:
        from hostscope.collectors.reverse_names import ReverseNames

        names = ReverseNames()
    return Wish(parse_query(choices, layout), connections, ledger, names)


def wait(watching: TrafficWatch, duration_s: float | None, stop: threading.Event) -> None:
    """Until the time is up or somebody stops it; the counters are looked at meanwhile."""
    until = monotonic() + duration_s if duration_s is not None else float("inf")
    while (left := until - monotonic()) > 0:
        if stop.wait(min(watching.observe_s, left)):
            return
        if until - monotonic() > watching.observe_s / 2:
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
    layout: Any = replace(query.layout, default=for_quantity(query.layout, watching.measures, live))
    query = replace(query, columns=layout.choose(query.choices.columns))
    rows: Any = look.flows if wish.connections else look.processes
    coverage = _noted(watching.coverage(), look)
    if wish.names is not None:
        rows = with_names(rows, wish.names.of(addresses_of(rows)))
        coverage = replace(coverage, effects=(*coverage.effects, "addresses were sent to the host's resolvers"))
    return Showing(query, Answer(iter(rows), lambda: coverage), query.selection(), sink, _beside(look))


def _noted(coverage: Coverage, look: Look) -> Coverage:
    notes = (*coverage.notes, render_balance(look.ledger)) if look.ledger else coverage.notes
    return replace(coverage, notes=notes, elapsed_ns=look.elapsed_ns)


def _beside(look: Look) -> dict[str, Any]:
    """What stands beside the rows in JSON, by the schema it has."""
    return {LEDGER_SCHEMA: look.ledger} if look.ledger else {}
