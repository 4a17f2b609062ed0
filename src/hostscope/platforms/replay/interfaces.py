"""Network interfaces of the recorded host."""

from collections.abc import Iterator

from hostscope.model.interface import Interface
from hostscope.platforms.replay.layout import INTERFACE_COVERAGE, INTERFACES
from hostscope.platforms.replay.processes import describe, restore
from hostscope.platforms.replay.reader import Recording
from hostscope.platforms.tally import Tally


class Interfaces:
    """Implements `hostscope.platforms.base_network.Interfaces`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        """As recorded; `tally` says what was counted then.

        Raises:
            Unsupported: the recording holds no interfaces. Whatever the host raised instead.
        """
        rows = self._recording.answer(INTERFACES)
        recorded = self._recording.answer(INTERFACE_COVERAGE)
        tally.method = recorded.method
        restore(tally, recorded)
        describe(self._recording, tally)
        return iter(rows)
