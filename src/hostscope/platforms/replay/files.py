"""Digests of the recorded host's executables."""

from hostscope.model.key import ProcessKey
from hostscope.model.process import Digest, Executable
from hostscope.platforms.replay.layout import DIGEST
from hostscope.platforms.replay.reader import Recording


class Files:
    """Implements `hostscope.platforms.base.Files`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        """As recorded; `exe` is told apart by `key`."""
        return self._recording.answer(DIGEST, str(key))
