"""What happens to processes. Linux: not built yet."""

import threading
from collections.abc import Iterator

from hostscope.errors import Unsupported
from hostscope.model.event import Event, EventRequest
from hostscope.platforms.tally import Tally


class Events:
    """Answers `Unsupported` for now."""

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise Unsupported("watching events is not built yet")
