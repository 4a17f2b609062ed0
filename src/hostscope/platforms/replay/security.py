"""The recorded host's own security state."""

from hostscope.model.security import HostSecurity
from hostscope.platforms.replay.layout import SECURITY
from hostscope.platforms.replay.reader import Recording


class Security:
    """Implements `hostscope.platforms.base.Security`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def state(self) -> HostSecurity:
        """As recorded."""
        return self._recording.answer(SECURITY)
