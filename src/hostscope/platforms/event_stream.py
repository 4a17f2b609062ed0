"""What all sources of events have in common: numbers, clocks, and losses at their place."""

import time
from collections.abc import Callable
from typing import NamedTuple

from hostscope.errors import UsageError
from hostscope.model.event import SCHEMAS, Body, CoverageChange, Event, EventRequest, Loss
from hostscope.model.key import ProcessKey
from hostscope.platforms.tally import Tally


class Happening(NamedTuple):
    """One thing that happened, not numbered yet."""

    at_ns: int
    """By its source's clock; 0 is now."""
    key: ProcessKey | None
    body: Body
    source: str | None = None
    """What told; None for what tells of most in its stream."""


class Numbering:
    """Makes events of happenings: counted, with both clocks as they were when the stream began."""

    def __init__(self, source: str, tally: Tally, now: Callable[[], int] = time.time_ns) -> None:
        """`now` is the clock that tells when something happened, in nanoseconds."""
        self._source, self._tally, self._now = source, tally, now
        self._seq = 0
        begun = now()
        self._utc_ns = 0 if now is time.time_ns else time.time_ns() - begun
        self._mono_ns = time.monotonic_ns() - begun

    def event(self, happening: Happening) -> Event:
        """The next event of the stream."""
        at = happening.at_ns or self._now()
        body, tally = happening.body, self._tally
        self._seq += 1
        if type(body) is Loss:
            tally.lost += body.events
        elif type(body) is not CoverageChange:
            tally.seen += 1
            tally.rows += 1
        schema, source, seq = SCHEMAS[type(body)], happening.source or self._source, self._seq - 1
        return Event(schema, source, seq, at + self._utc_ns, at + self._mono_ns, happening.key, body)

    def coverage(self) -> Event:
        """What the stream covers from here on."""
        return self.event(Happening(0, None, CoverageChange(self._tally.coverage())))


def check_request(request: EventRequest, kinds: tuple[str, ...], methods: tuple[str, ...]) -> None:
    """Raises `UsageError` for kinds and methods that a system has not."""
    if request.method is not None and request.method not in methods:
        raise UsageError(f"there is no method {request.method!r}", f"methods here: {', '.join(methods)}, polling")
    unknown = sorted(request.kinds - set(kinds))
    if unknown or not request.kinds:
        raise UsageError(f"there are no events {', '.join(unknown) or 'without a kind'}", f"kinds: {', '.join(kinds)}")
