"""`hostscope watch`: what happens to processes, as it happens."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import click
from msgspec.structs import replace

from hostscope.cli.endings import ending
from hostscope.cli.options import COMMON, Choices, options
from hostscope.cli.output import Sink, open_output
from hostscope.cli.refresh import stopping
from hostscope.cli.show import say, strict_code
from hostscope.errors import Gone
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.model.event import KINDS, KINDS_OF, Event, EventRequest
from hostscope.model.key import ProcessKey
from hostscope.render.coverage import render_coverage
from hostscope.render.documents import encode_coverage, encode_json, render_json
from hostscope.render.events import render_event
from hostscope.render.select import Selection
from hostscope.session import open_session
from hostscope.session.local import LocalSession

EVENT_SCHEMA = "hostscope.event/1"
FORMATS = ("table", "json", "ndjson")
DEFAULT_INTERVAL_S = 1.0

EPILOG = f"""\b
Kinds: {", ".join(KINDS)};
on Windows {", ".join(KINDS_OF["windows"])}.
  start, exec, exit  programs with their arguments, exit codes, run time,
                     processor time and peak memory
  credentials        users, groups and sessions; with --capabilities also
                     capabilities
  ptrace, module     who attaches to whom (a child that asks its parent to
                     trace it is not told of); kernel modules that are
                     loaded
  socket             TCP, SCTP and DCCP: connect, accept, listen, close; an
                     accepted connection when it is made, with the process
                     that listens
  image, thread      programs and libraries that are loaded; threads that
                     begin and end (Windows)
  security           settings of Defender, UAC and LSA protection that are
                     changed (Windows)

\b
TARGET is a pid, a name (also of processes that come later), :PORT or a key
(pid@start); all that they start is shown with them. Without one everything
is shown.

\b
As root events come from the kernel (--method ring-buffer, else
proc-connector), and none is lost without a LOST line. Others have the
proc-connector from Linux 6.6 on; before it they see what differs between
two looks (--method polling). On Windows events come from a tracing session
(--method etw), which takes an administrator; security settings are told of
whatever the method.

\b
Examples:
  hostscope watch
  hostscope watch sshd --kinds start,exec,exit,credentials
  hostscope watch --kinds socket --duration 60 --format ndjson"""


@click.command("watch", epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--kinds", default="start,exec,exit", show_default=True, metavar="A,B", help="What to show; all is all.")
@click.option("--capabilities", is_flag=True, help="Changes of capabilities: costs 0.1 us of every system call.")
@click.option("--buffer-bytes", type=click.IntRange(min=4096), metavar="N", help="Room for events in the kernel.")
@click.option("--format", type=click.Choice(FORMATS), default="table", help="Form of the output.")
@click.option("--method", metavar="NAME", help="ring-buffer or proc-connector on Linux; etw on Windows; polling.")
@click.option("--system-log", is_flag=True, help="Write each event to the host's log, too (event log, syslog).")
@options("output", "limit", "interval", "duration", "reveal", *COMMON)
def command(
    targets: tuple[str, ...],
    kinds: str,
    capabilities: bool,
    buffer_bytes: int | None,
    system_log: bool,
    **given: Any,
) -> int:
    """Show what happens to processes, until interrupted: each start, program, end, and whatever else is asked for."""
    choices = Choices(targets=targets, **(given | {"watch": True}))
    request = EventRequest(
        kinds=_kinds(kinds) | ({"credentials"} if capabilities else set()),
        capabilities=capabilities,
        buffer_bytes=buffer_bytes,
        method=choices.method,
        interval_s=choices.interval or DEFAULT_INTERVAL_S,
    )
    with (
        open_session(choices.replay, reveal=choices.reveal, lower=True) as session,
        stopping(choices.duration) as stop,
        ending(stop) as ended,
    ):
        session.limit_to("watch", bool(choices.output))
        answer = session.watch(request, stop, *_followed(session, targets))
        return _write(session, answer, choices, stop, system_log) or ended.code


def _kinds(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _followed(session: LocalSession, targets: tuple[str, ...]) -> tuple[frozenset[ProcessKey], frozenset[str]]:
    """Processes that are there, and names that others may come with."""
    keys: set[ProcessKey] = set()
    names = frozenset(target for target in targets if not target[:1].isdigit() and not target.startswith(":"))
    for target in targets:
        try:
            keys |= session.keys((target,))
        except Gone:
            if target not in names:
                raise
    return frozenset(keys), names


def _write(
    session: LocalSession, answer: Answer[Event], choices: Choices, stop: threading.Event, system_log: bool
) -> int:
    with open_output(choices.output, session.overriding) as sink:
        selection = Selection[Event, Event](limit=choices.limit)
        events = _limited(answer, selection, stop)
        if system_log:
            events = _reported(session, events)
        if choices.format == "json":
            rows = (encode_json(event) for event in events)
            sink.write_all(render_json(EVENT_SCHEMA, rows, lambda: _covered(answer, selection)))
        else:
            _stream(sink, events, choices)
            if choices.format == "ndjson":
                sink.write(encode_coverage(_covered(answer, selection)))
    coverage = _covered(answer, selection)
    if choices.format == "table" and not choices.quiet:
        say(render_coverage(coverage, "events"))
    nothing = bool(choices.targets) and not coverage.rows
    return strict_code(coverage) if choices.strict or nothing else 0


def _reported(session: LocalSession, events: Iterable[Event]) -> Iterator[Event]:
    """The same events, each written to the host's log when it passes."""
    for event in events:
        session.report("warning" if event.schema == _LOSS else "info", render_event(event).rstrip())
        yield event


def _stream(sink: Sink, events: Iterable[Event], choices: Choices) -> None:
    write = render_event if choices.format == "table" else _line
    for event in events:
        sink.write(write(event))
        sink.file.flush()


def _line(event: Event) -> bytes:
    return encode_json({"type": "event", "event": event}) + b"\n"


def _limited(events: Iterable[Event], selection: Selection[Event, Event], stop: threading.Event) -> Iterator[Event]:
    """The first so many; what says what is covered and what is lost does not count, and is always shown."""
    for event in events:
        if event.schema in _ABOUT:
            yield event
        else:
            yield from selection.select((event,), _itself)
        if selection.shown == selection.limit:
            stop.set()


def _itself(event: Event) -> Event:
    return event


def _covered(answer: Answer[Event], selection: Selection[Event, Event]) -> Coverage:
    """A limit that was reached ended the watch."""
    coverage = selection.coverage(answer.coverage)
    return replace(coverage, limited=coverage.limited or selection.shown == selection.limit)


_LOSS = "hostscope.loss/1"
_ABOUT = (_LOSS, "hostscope.coverage/1")
