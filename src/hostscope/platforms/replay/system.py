"""What the recorded host is."""

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
