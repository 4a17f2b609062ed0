"""What the recorded host is."""

from hostscope.errors import Unsupported
from hostscope.model.host import HostInfo
from hostscope.platforms.replay.layout import INFO
from hostscope.platforms.replay.reader import Recording


class System:
    """Implements `hostscope.platforms.base.System`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def info(self) -> HostInfo:
        """As recorded."""
        return self._recording.answer(INFO)

    def report(self, severity: str, text: str) -> None:
        """Not to a recording."""
        raise Unsupported("a recording has no log to write to")
