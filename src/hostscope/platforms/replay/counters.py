"""The recorded host's counters, at the moment of the recording."""

from hostscope.model.host import HostCounters
from hostscope.platforms.replay.layout import COUNTERS
from hostscope.platforms.replay.reader import Recording


class Counters:
    """Implements `hostscope.platforms.base.Counters`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def read(self) -> HostCounters:
        """As recorded: the same numbers every time."""
        return self._recording.answer(COUNTERS)
