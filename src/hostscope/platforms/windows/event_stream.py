"""What all sources of events have in common: numbers, clocks, and losses at their place."""

import time
from typing import NamedTuple

from hostscope.model.event import SCHEMAS, Body, CoverageChange, Event, Loss
from hostscope.model.key import ProcessKey
from hostscope.platforms.tally import Tally


class Happening(NamedTuple):
    """One thing that happened, not numbered yet."""

    at_ns: int
    """UTC since the epoch; 0 is now."""
    key: ProcessKey | None
    body: Body


class Numbering:
    """Makes events of happenings: counted, with both clocks as they were when the stream began."""

    def __init__(self, source: str, tally: Tally) -> None:
        self._source, self._tally = source, tally
        self._seq = 0
        self._mono_ns = time.monotonic_ns() - time.time_ns()

    def event(self, happening: Happening) -> Event:
        """The next event of the stream."""
        at = happening.at_ns or time.time_ns()
        body, tally = happening.body, self._tally
        self._seq += 1
        if isinstance(body, Loss):
            tally.lost += body.events
        elif not isinstance(body, CoverageChange):
            tally.seen += 1
            tally.rows += 1
        schema, seq = SCHEMAS[type(body)], self._seq - 1
        return Event(schema, self._source, seq, at, at + self._mono_ns, happening.key, body)

    def coverage(self) -> Event:
        """What the stream covers from here on."""
        return self.event(Happening(0, None, CoverageChange(self._tally.coverage())))
