"""`hostscope services`: units of the service manager."""

import threading
from collections.abc import Iterator
from typing import Any

import click

from hostscope.cli.options import COMMON, ROWS, WATCHING, Choices, options
from hostscope.cli.output import open_output
from hostscope.cli.refresh import DEFAULT_INTERVAL_S, stopping
from hostscope.cli.tables import show_table
from hostscope.errors import UsageError
from hostscope.model.event import Event
from hostscope.render.documents import encode_json
from hostscope.render.events import render_event
from hostscope.session import open_session


@click.command("services", epilog="Example: hostscope services --filter 'state == \"failed\"'")
@click.option("--signatures", is_flag=True, help="Judge the files with their code (Windows); reads these files.")
@options(*ROWS, *WATCHING, "reveal", *COMMON)
def command(signatures: bool, **given: Any) -> int:
    """List the units of the service manager; with --watch, each change of a unit's state as it happens."""
    choices = Choices(**given)
    if not choices.watch:
        return show_table("services", choices, frozenset({"signature"} if signatures else ()))
    if signatures:
        raise UsageError("--watch shows changes of state", "leave --signatures out")
    return _watch(choices)


def _watch(choices: Choices) -> int:
    if choices.format not in ("table", "ndjson"):
        raise UsageError(f"--watch cannot write {choices.format}", "use --format table or ndjson")
    if choices.filter_ or choices.sort or choices.columns:
        raise UsageError("--watch shows every change as it happens", "leave --filter, --sort and --columns out")
    write = render_event if choices.format == "table" else _line
    with (
        open_session(choices.replay, choices.reveal, lower=True) as session,
        stopping(choices.duration) as stop,
        open_output(choices.output, session.overriding) as sink,
    ):
        session.limit_to("services", bool(choices.output))
        changes = session.service_changes(stop, choices.interval or DEFAULT_INTERVAL_S)
        for event in _limited(changes, choices, stop):
            sink.write(write(event))
            sink.file.flush()
    return 0


def _limited(events: Iterator[Event], choices: Choices, stop: threading.Event) -> Iterator[Event]:
    for count, event in enumerate(events, 1):
        yield event
        if count == choices.limit:
            stop.set()
            return


def _line(event: Event) -> bytes:
    return encode_json({"type": "event", "event": event}) + b"\n"
