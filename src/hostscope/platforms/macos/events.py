"""What happens to processes. macOS: not built yet."""

import threading
from collections.abc import Iterator

from hostscope.model.event import Event, EventRequest
from hostscope.platforms.macos.translate import not_built
from hostscope.platforms.tally import Tally


class Events:
    """Answers `Unsupported` for now."""

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise not_built("watching events")
