"""Digests of the recorded host's executables."""

from typing import BinaryIO

from hostscope.model.dump import Reserve
from hostscope.model.key import ProcessKey
from hostscope.model.package import FileOwner
from hostscope.model.process import Digest, Executable
from hostscope.model.signature import Seal
from hostscope.platforms.replay.layout import DIGEST
from hostscope.platforms.replay.reader import Recording
from hostscope.platforms.replay.translate import not_recorded


class Files:
    """Implements `hostscope.platforms.base.Files`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        """As recorded; `exe` is told apart by `key`."""
        return self._recording.answer(DIGEST, str(key))

    def matches(self, key: ProcessKey, exe: Executable, owner: FileOwner) -> bool | None:
        """Files are not in a recording.

        Raises:
            Unsupported: always.
        """
        raise not_recorded("the content of executables")

    def seals(self, file: BinaryIO) -> tuple[Seal, ...]:
        """Files are not in a recording.

        Raises:
            Unsupported: always.
        """
        raise not_recorded("the content of executables")

    def changed_at_ns(self, file: BinaryIO) -> int:
        """Files are not in a recording.

        Raises:
            Unsupported: always.
        """
        raise not_recorded("the content of executables")

    def catalogs(self, file: BinaryIO) -> tuple[str, ...]:
        """Files are not in a recording.

        Raises:
            Unsupported: always.
        """
        raise not_recorded("the content of executables")

    def reserve(self, fd: int) -> Reserve | None:
        """None: a recording dumps nothing."""
        return None
