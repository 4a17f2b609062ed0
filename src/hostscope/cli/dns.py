"""`hostscope dns`: how names are resolved, what is asked, and how well servers answer."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from msgspec.structs import replace

from hostscope.cli.endings import ending
from hostscope.cli.options import COMMON, ROWS, SECONDS, Choices, Query, options, parse_query
from hostscope.cli.output import Sink, open_output
from hostscope.cli.refresh import stopping
from hostscope.cli.show import Showing, exit_code, footer, say, show
from hostscope.errors import UsageError
from hostscope.model.answer import Answer
from hostscope.model.dns import DNS_QUERY_SCHEMA, RESOLVER_SCORE_SCHEMA, DnsQuery, DnsRequest
from hostscope.render.dns_columns import QUERIES, RESOLVERS, SCORES, render_query
from hostscope.render.documents import encode_coverage, encode_json
from hostscope.render.table import cells_of, render_table
from hostscope.session import open_session
from hostscope.session.local import LocalSession
from hostscope.wire.scores import ScoreBoard

SERVERS_DURATION_S = 10.0
"""How long ``--servers`` alone watches."""

EPILOG = """\b
Without options, or with --config: the configured servers (resolv.conf,
containers', systemd-resolved, NetworkManager). --watch shows each question
that passes with its answer and process, until interrupted; --duration S for
so long; both end with the servers' scores. --servers shows only these
(alone: after 10 s). --read takes a capture file instead. Watching needs
CAP_NET_RAW; on Windows an administrator, and there the system's own
resolver tells what is asked, without the servers, unless --servers, --port
or --interface make it packets. Questions over TLS or HTTPS are encrypted,
and not seen in packets.

\b
Examples:
  hostscope dns
  hostscope dns --duration 10
  hostscope dns --watch --filter 'result != "NOERROR"'
  hostscope dns --read capture.pcapng --servers"""


@dataclass(frozen=True)
class Wish:
    """What is shown instead of the configuration."""

    choices: Choices
    servers: bool
    read: str | None
    request: DnsRequest
    resolve: bool


@click.command("dns", epilog=EPILOG)
@options(*ROWS, "watch", "duration")
@click.option("--config", is_flag=True, help="Show the configured servers; the default.")
@click.option("--servers", is_flag=True, help="Show how well each server answers.")
@click.option(
    "--read",
    metavar="FILE",
    help="Take the questions from a pcap or pcapng file; processes are those that its comments name.",
)
@click.option("--interface", "interfaces", multiple=True, metavar="NAME", help="Watch only it; may be repeated.")
@click.option("--namespace", metavar="PID|NAME", help="Watch the network namespace of a process, or of that name.")
@click.option("--timeout", type=SECONDS, default=5.0, metavar="S", help="A question without an answer has failed. [5]")
@click.option(
    "--port", "ports", multiple=True, type=click.IntRange(1, 65_535), metavar="N", help="Ports of servers. [53]"
)
@click.option("--resolve", is_flag=True, help="Ask the resolvers for the servers' names: this sends packets.")
@options(*COMMON)
def command(
    config: bool,
    servers: bool,
    read: str | None,
    interfaces: tuple[str, ...],
    namespace: str | None,
    timeout: float,
    ports: tuple[int, ...],
    resolve: bool,
    **given: Any,
) -> int:
    """Show how names are resolved; with --watch each question, with the process that asked and the answer."""
    watching = bool(given["watch"] or given["duration"] is not None or servers or read)
    if (interfaces or namespace) and not watching:
        raise UsageError("--interface and --namespace say what to watch", "add --watch, --duration or --servers")
    if config and watching:
        raise UsageError("--config shows what is configured, the others what is asked", "leave one of them out")
    if not watching:
        return _configuration(Choices(**given), resolve)
    if read and (interfaces or namespace or given["watch"] or given["duration"] is not None):
        raise UsageError("--read is instead of watching", "leave --interface, --namespace, --watch and --duration out")
    if resolve and not servers:
        raise UsageError("--resolve is about servers", "add --servers, or leave --watch and --read out")
    if servers and not read and not given["watch"] and given["duration"] is None:
        given["duration"] = SERVERS_DURATION_S
    choices = Choices(**(given | {"watch": True}))
    request = DnsRequest(interfaces, timeout, ports or (53,), namespace=namespace, packets=servers or bool(ports))
    return _watch(Wish(choices, servers, read, request, resolve))


def _configuration(choices: Choices, resolve: bool) -> int:
    if resolve and choices.columns is None and choices.format not in ("json", "ndjson"):
        choices = replace(choices, columns="+name")
    query = parse_query(choices, RESOLVERS)
    with open_session(choices.replay, lower=True) as session:
        return show(session, query, session.resolvers(resolve))


def _watch(wish: Wish) -> int:
    choices, board = wish.choices, ScoreBoard()
    if wish.resolve and choices.columns is None and choices.format not in ("json", "ndjson"):
        choices = replace(choices, columns="+name")
    query: Query = parse_query(choices, SCORES if wish.servers else QUERIES)
    with (
        open_session(choices.replay, lower=True) as session,
        stopping(choices.duration) as stop,
        ending(stop) as ended,
    ):
        if wish.read is None:
            session.limit_to("dns", bool(choices.output))
        answer = _asked(session, wish, stop, board)
        if wish.servers:
            code = show(session, query, session.dns_scores(answer, board, wish.resolve))
        elif _streams(wish):
            code = _stream(session, query, answer, board, stop)
        else:
            code = show(session, query, answer)
            if choices.format == "table" and not choices.quiet:
                say("\n" + _board(board))
    return ended.code or code


def _streams(wish: Wish) -> bool:
    """Whether each row is shown when it comes; a file's as a table, because all of them are there at once."""
    if wish.choices.sort is not None or wish.choices.columns is not None:
        return False
    return wish.choices.format == "ndjson" or (wish.choices.format == "table" and wish.read is None)


def _asked(session: LocalSession, wish: Wish, stop: threading.Event, board: ScoreBoard) -> Answer[DnsQuery]:
    if wish.read is not None:
        return session.dns_file(wish.read, wish.request, board)
    return session.dns_queries(wish.request, stop, board)


def _stream(
    session: LocalSession, query: Query, answer: Answer[DnsQuery], board: ScoreBoard, stop: threading.Event
) -> int:
    """Each row as it comes, then the servers' scores and what was covered."""
    write: Callable[[DnsQuery], str | bytes] = render_query if query.choices.format == "table" else _line
    with open_output(query.choices.output, session.overriding) as sink:
        showing = Showing(query, answer, query.selection(), sink)
        for row in showing.items(lambda row: row):
            sink.write(write(row))
            sink.file.flush()
            if showing.selection.shown == query.choices.limit:
                stop.set()
        _close(showing, board, sink)
        return exit_code(showing)


def _line(query: DnsQuery) -> bytes:
    return encode_json({"type": "row", "schema": DNS_QUERY_SCHEMA, "row": query}) + b"\n"


def _close(showing: Showing, board: ScoreBoard, sink: Sink) -> None:
    coverage = showing.coverage()
    if showing.query.choices.format == "ndjson":
        for score in board.rows():
            sink.write(encode_json({"type": "row", "schema": RESOLVER_SCORE_SCHEMA, "row": score}) + b"\n")
        sink.write(encode_coverage(coverage))
    elif not showing.query.choices.quiet:
        sink.write(f"\n{_board(board)}\n{footer(showing)}\n")


def _board(board: ScoreBoard) -> str:
    columns = SCORES.choose(None)
    cells = cells_of(columns)
    return "".join(render_table(columns, [cells(score) for score in board.rows()]))
