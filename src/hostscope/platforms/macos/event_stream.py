"""What all sources of events have in common: numbers, clocks, and losses at their place."""

import time

from hostscope.model.event import SCHEMAS, Body, CoverageChange, Event, Loss
from hostscope.model.key import ProcessKey
from hostscope.platforms.tally import Tally


class Numbering:
    """Makes events, counted; both clocks as they were when the stream began."""

    def __init__(self, source: str, tally: Tally) -> None:
        self._source, self._tally = source, tally
        self._seq = -1
        self._shift_ns = time.monotonic_ns() - time.time_ns()

    def event(self, key: ProcessKey | None, body: Body, at_ns: int = 0) -> Event:
        """The next event of the stream; `at_ns` 0 is now."""
        at_ns = at_ns or time.time_ns()
        self._seq += 1
        if isinstance(body, Loss):
            self._tally.lost += body.events
        elif not isinstance(body, CoverageChange):
            self._tally.seen += 1
            self._tally.rows += 1
        schema = SCHEMAS[type(body)]
        return Event(schema, self._source, self._seq, at_ns, at_ns + self._shift_ns, key, body)

    def coverage(self) -> Event:
        """What the stream covers from here on."""
        return self.event(None, CoverageChange(self._tally.coverage()))
