"""The recorded host's units."""

import threading
from collections.abc import Iterator

from hostscope.errors import Gone
from hostscope.model.event import Event
from hostscope.model.service import ServiceState
from hostscope.platforms.replay.layout import SERVICES
from hostscope.platforms.replay.reader import Recording
from hostscope.platforms.replay.translate import not_recorded


class Services:
    """Implements `hostscope.platforms.base.Services`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def services(self) -> Iterator[ServiceState]:
        """As recorded."""
        units = self._recording.answer(SERVICES)
        return iter(units)

    def service(self, name: str) -> ServiceState:
        """One unit of the system's manager as recorded.

        Raises:
            Gone: no unit had that name.
        """
        for unit in self.services():
            if unit.name == name and unit.user is None:
                return unit
        raise Gone(f"{name}: there is no such unit in this recording")

    def changes(self, stop: threading.Event, interval_s: float) -> Iterator[Event]:
        """Not recorded: a recording holds one moment.

        Raises:
            Unsupported: always.
        """
        raise not_recorded("service state changes")
