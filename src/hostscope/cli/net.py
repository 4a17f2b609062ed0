"""`hostscope net`: every socket, and who holds it."""

from functools import partial
from typing import Any

import click

from hostscope.cli.options import COMMON, ROWS, WATCHING, Choices, Query, options, parse_query
from hostscope.cli.refresh import DEFAULT_INTERVAL_S, watch
from hostscope.cli.show import show
from hostscope.errors import UsageError
from hostscope.model.socket import CONNECTED_STATES, FAMILIES, INET, WAITING_STATES, SocketRequest
from hostscope.render.socket_columns import SOCKETS
from hostscope.session import open_session

EPILOG = """\b
TARGET is a pid, a name, :PORT (at either end) or a key (pid@start); without
one all sockets are shown.

\b
Filters compare columns (see --list-columns) and fields of records:
  direction == "outbound" and remote_port == 443
  state == "listen" and user != "root"
  container == "web" and rtt > 100*MS
  startswith(remote_address, "10.") or "nc" in process
In a cell, - means that it does not apply, and ? that it could not be read.

\b
Sockets of every network namespace and container are shown, and those that
no process holds (time-wait, waiting to be accepted, the kernel's own).
Names of remote ends are learnt by traffic --connections (--dns), which sees
what passes; here only --resolve gives them. --columns +netns tells
namespaces apart. Who began a connection is a heuristic: see
docs/records.md, Socket.direction.

Example: hostscope net --listening --columns proto,local,pid,process,netns"""

ORDER = "state,proto,local_port,pid"


@click.command("net", epilog=EPILOG)
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--unix", is_flag=True, help="Show UNIX sockets too.")
@click.option("--packet", is_flag=True, help="Show packet sockets too: who captures.")
@click.option("--all", "everything", is_flag=True, help="Show sockets of all families.")
@click.option("--listening", is_flag=True, help="Show only listeners, and datagram sockets that are not connected.")
@click.option("--established", is_flag=True, help="Show only established connections.")
@click.option("--resolve", is_flag=True, help="Ask the resolvers for names of remote addresses: this sends packets.")
@click.option(
    "--method", metavar="NAME", help="How: iterator, diag or proc on Linux; owner-module or owner-pid on Windows."
)
@options(*ROWS, *WATCHING, *COMMON)
def command(
    unix: bool, packet: bool, everything: bool, listening: bool, established: bool, resolve: bool, **given: Any,
) -> int:  # fmt: skip
    """List sockets, the processes that hold them, and who they talk to."""
    if listening and established:
        raise UsageError("a socket does not listen and talk at the same time", "give --listening or --established")
    choices = Choices(**given)
    query = parse_query(Choices(**{**given, "sort": choices.sort or _order(choices)}), SOCKETS)
    families = FAMILIES if everything else INET | ({"unix"} if unix else set()) | ({"packet"} if packet else set())
    states = WAITING_STATES if listening else CONNECTED_STATES if established else None
    request = _request(query, families, states)
    with open_session(choices.replay, lower=True) as session:
        if choices.watch:
            session.limit_to("net", bool(choices.output))
            interval_s = choices.interval or DEFAULT_INTERVAL_S
            looks = partial(session.socket_looks, interval_s=interval_s, request=request)
            return watch(session, query, partial(looks, targets=choices.targets, resolve=resolve))
        return show(session, query, session.sockets(request, choices.targets, resolve))


def _order(choices: Choices) -> str | None:
    """Tables are sorted for people; other forms give rows as they come."""
    return ORDER if choices.format == "table" else None


def _request(query: Query, families: frozenset[str], states: frozenset[str] | None) -> SocketRequest:
    fields = query.fields()
    return SocketRequest(
        families=families,
        states=states,
        tcp_details=query.whole_records or "tcp" in fields,
        age="age" in fields,
        method=query.choices.method,
    )
