"""Two streams of events as one, in the order in which they come."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from msgspec.structs import replace

from hostscope.model.event import SCHEMAS, CoverageChange, Event
from hostscope.platforms.tally import Tally

MOST_WAITING = 4096
"""Events that nobody took yet. When it is full a stream waits, so that its own source says what is lost."""
PATIENCE_S = 0.2


class _End(NamedTuple):
    of: int
    failed: BaseException | None


class _Pumps:
    """A thread for each stream, all into one queue."""

    def __init__(self, streams: tuple[Iterator[Event], ...]) -> None:
        self._waiting: queue.Queue[tuple[int, Event] | _End] = queue.Queue(MOST_WAITING)
        self._left = threading.Event()
        self._threads = [
            threading.Thread(target=self._pump, args=pair, name="events", daemon=True) for pair in enumerate(streams)
        ]

    @contextmanager
    def running(self, stop: threading.Event) -> Iterator[None]:
        """For the block; at its end the streams are told to stop, and waited for."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            self._left.set()
            for thread in self._threads:
                thread.join()

    def take(self) -> tuple[int, Event] | _End:
        """The next event with the number of its stream, or that it ended.

        It waits in turns: CPython notices a signal that comes while it hands its lock on, before it waits, at the next.
        """
        while True:
            with suppress(queue.Empty):
                return self._waiting.get(timeout=PATIENCE_S)

    def _pump(self, number: int, stream: Iterator[Event]) -> None:
        failed: BaseException | None = None
        try:
            for event in stream:
                self._put((number, event))
        except BaseException as raised:  # who takes is told, in the thread that asked
            failed = raised
        self._put(_End(number, failed))

    def _put(self, item: tuple[int, Event] | _End) -> None:
        while not self._left.is_set():
            try:
                self._waiting.put(item, timeout=PATIENCE_S)
                return
            except queue.Full:
                continue


def joined(main: Iterator[Event], beside: Iterator[Event], stop: threading.Event, tally: Tally) -> Iterator[Event]:
    """All events of both, numbered anew, until both ended; leaving early sets `stop`.

    When `main` fails, so does this; when `beside` fails, an event says that it is no longer covered.

    Args:
        tally: of `main`; what `beside` tells is added at the end.
    """
    pumps, told = _Pumps((main, beside)), 0
    with pumps.running(stop):
        for seq, (number, event) in enumerate(_both(pumps, stop, tally)):
            told += number
            yield replace(event, seq=seq)
    tally.seen += told
    tally.rows += told


def _both(pumps: _Pumps, stop: threading.Event, tally: Tally) -> Iterator[tuple[int, Event]]:
    """With the number of the stream: 0 is the one that matters."""
    running = {0, 1}
    while running:
        item = pumps.take()
        if not isinstance(item, _End):
            if item[0] == 0 or not isinstance(item[1].body, CoverageChange):  # the first stream's covers both
                yield item
            continue
        running.discard(item.of)
        if item.failed is not None and item.of:
            yield 0, _uncovered(item.failed, tally)
        elif item.failed is not None:
            raise item.failed
        elif item.of == 0:
            stop.set()


def _uncovered(failed: BaseException, tally: Tally) -> Event:
    tally.hidden = "some kinds of events are not watched any more"
    tally.note(f"a stream of events ended: {failed}")
    body = CoverageChange(tally.coverage())
    return Event(SCHEMAS[CoverageChange], tally.method, 0, time.time_ns(), time.monotonic_ns(), None, body)
