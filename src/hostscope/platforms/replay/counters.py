"""The recorded host's counters, at the moment of the recording."""

from collections.abc import Iterator

from hostscope.errors import Unsupported
from hostscope.model.host import HostCounters, NamedCounter
from hostscope.platforms.replay.layout import COUNTERS
from hostscope.platforms.replay.reader import Recording


class Counters:
    """Implements `hostscope.platforms.base.Counters`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def read(self) -> HostCounters:
        """As recorded: the same numbers every time."""
        return self._recording.answer(COUNTERS)

    def named(self, paths: tuple[str, ...], interval_s: float) -> Iterator[NamedCounter]:
        """Not on this system."""
        raise Unsupported("a recording holds the counters of the host only", "ask the live host")
