"""What happens to processes. Windows: not built yet."""

import threading
from collections.abc import Iterator

from hostscope.model.event import Event, EventRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.translate import not_built


class Events:
    """Answers `Unsupported` for now."""

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise not_built("watching events")
