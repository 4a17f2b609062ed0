"""The recorded host's packages, as far as they own the executables of its processes."""

from hostscope.model.package import FileOwner
from hostscope.platforms.replay.layout import OWNER
from hostscope.platforms.replay.reader import Recording


class Packages:
    """Implements `hostscope.platforms.base.Packages`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def owner(self, path: str) -> FileOwner | None:
        """As recorded."""
        return self._recording.answer(OWNER, path)
