"""Showing something again and again: redrawn in place on a terminal, one after the other elsewhere."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from time import monotonic
from typing import Any

from hostscope.cli.endings import waking
from hostscope.cli.options import Query
from hostscope.cli.output import Sink, open_output
from hostscope.cli.show import FORMS, Showing, exit_code, footer
from hostscope.errors import UsageError
from hostscope.model.answer import Answer
from hostscope.model.process import Process
from hostscope.render.table import DIM, RESET, Style, cells_of, render_table
from hostscope.session.local import LocalSession

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
DEFAULT_INTERVAL_S = 2.0
FORMS_WATCHED = ("table", "ndjson")
_AROUND = 2
"""Lines that are neither rows nor what was covered: titles, and an empty line."""
_COVERED_SHARE = 3
"""What was covered takes at most the third part of the screen."""


Looks = Callable[[threading.Event], Iterator[Answer[Any]]]
"""Gives answers until the event is set."""


def watch(session: LocalSession, query: Query, looks: Looks | None = None) -> int:
    """Shows processes, or what `looks` gives, until interrupted or for the duration; the exit code of the last look.

    Raises:
        UsageError: the form cannot be repeated.
    """
    choices = query.choices
    if choices.format not in FORMS_WATCHED:
        raise UsageError(f"--watch cannot write {choices.format}", "use --format table or ndjson")
    output = open_output(choices.output, session.overriding)
    with output as sink, stopping(choices.duration) as stop, screen(sink) as left:
        code = 0
        answers = looks(stop) if looks else _snapshots(session, query, stop)
        for showing in (Showing(query, answer, query.selection(), sink) for answer in answers):
            code = draw(showing, left) if sink.redraws and choices.format == "table" else _append(showing)
    return code


def _snapshots(session: LocalSession, query: Query, stop: threading.Event) -> Iterator[Answer[Process]]:
    interval_s = query.choices.interval or DEFAULT_INTERVAL_S
    only = session.keys(query.choices.targets) if query.choices.targets else None
    return session.snapshots(query.request(), stop, interval_s, only)


def _append(showing: Showing) -> int:
    FORMS[showing.query.choices.format](showing)
    if showing.query.choices.format == "table":
        showing.sink.write("\n")
    showing.sink.file.flush()
    return exit_code(showing)


def draw(showing: Showing, left: list[str] | None = None) -> int:
    """One frame: only the rows that fit are laid out. `left` takes what of it stays when the screen is left."""
    _, lines = showing.sink.size() or (80, 24)
    rows = showing.items(cells_of(showing.query.columns))
    shown = list(islice(rows, lines))
    for _ in rows:
        pass
    text = frame(showing, shown, showing.sink.style(), lines)
    showing.sink.write(text)
    showing.sink.file.flush()
    if left is not None:
        left[:] = [text.removeprefix(HOME).removesuffix(CLEAR_BELOW)]
    return exit_code(showing)


def frame(showing: Showing, rows: list[tuple[str, ...]], style: Style, height: int) -> str:
    """The text that replaces the frame before it, without flicker: nothing is cleared before it is drawn over."""
    covered = [line[: style.width] for line in footer(showing).splitlines()[: max(1, height // _COVERED_SHARE)]]
    room = max(1, height - _AROUND - len(covered))
    table = "".join(render_table(showing.query.columns, rows[:room], style))
    lines = [*table.splitlines(), "", *(f"{DIM}{line}{RESET}" if style.colour else line for line in covered)]
    return HOME + f"{CLEAR_LINE}\r\n".join(lines) + CLEAR_LINE + CLEAR_BELOW


@contextmanager
def screen(sink: Sink | None) -> Iterator[list[str]]:
    """The terminal's other screen, and the first one back at the end, however it ends; nothing without a terminal.

    Yields:
        A list; what is in it in the end is shown on the first screen, and stays.
    """
    left: list[str] = []
    if sink is None or not sink.redraws:
        yield left
        return
    sink.write(ENTER)
    try:
        yield left
    finally:
        sink.write(LEAVE + "".join(f"{text}\r\n" for text in left))
        sink.file.flush()


class _Deadline(threading.Event):
    """An event that is set once its time has come, without a thread: that would keep privileges of its own."""

    def __init__(self, duration_s: float) -> None:
        super().__init__()
        self._at_s = monotonic() + duration_s

    def is_set(self) -> bool:
        return super().is_set() or monotonic() >= self._at_s

    def wait(self, timeout: float | None = None) -> bool:
        left = max(0.0, self._at_s - monotonic())
        return super().wait(left if timeout is None else min(timeout, left)) or self.is_set()


@contextmanager
def stopping(duration_s: float | None) -> Iterator[threading.Event]:
    """An event that is set after the duration, which begins now; who waits for it is interrupted on every system."""
    stop = _Deadline(duration_s) if duration_s else threading.Event()
    try:
        with waking(stop):
            yield stop
    finally:
        stop.set()
