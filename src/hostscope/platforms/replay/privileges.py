"""What the recorder could do on the recorded host."""

from contextlib import AbstractContextManager

from hostscope.model.host import Ability
from hostscope.platforms.replay.layout import ABILITIES, HELD
from hostscope.platforms.replay.reader import Recording
from hostscope.platforms.replay.translate import not_recorded


class Privileges:
    """Implements `hostscope.platforms.base_program.Privileges`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def held(self) -> tuple[str, ...]:
        """As recorded: of whoever made the recording."""
        return self._recording.answer(HELD)

    def abilities(self) -> tuple[Ability, ...]:
        """As recorded: of whoever made the recording."""
        return self._recording.answer(ABILITIES)

    def lower_all(self) -> None:
        """Reading a recording takes no privilege: nothing to lower."""

    def limit_to(self, command: str, writes: bool = False) -> None:
        """Reading a recording takes no privilege: nothing to give up."""

    def settle(self, method: str | None = None) -> None:
        """Reading a recording takes no privilege: nothing to give up."""

    def using(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        """A recording has nothing to raise.

        Raises:
            Unsupported: always.
        """
        raise not_recorded(f"raising {', '.join(names)}")
