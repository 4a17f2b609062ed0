"""What happens to processes. Not recorded."""

import threading
from collections.abc import Iterator

from hostscope.model.event import Event, EventRequest
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Events:
    """Implements `hostscope.platforms.base.Events`: a recording does not hold it."""

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise not_recorded("watching events")
