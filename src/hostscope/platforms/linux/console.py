"""The console of Linux: signals say all there is to say."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from hostscope.errors import Unsupported

WHY, HINT = "hostscope registers no services on Linux", "`hostscope doctor --unit CAPABILITY` prints a unit for systemd"


class Console:
    """Nothing has to be prepared, and no event comes by another way than signals."""

    def prepare(self) -> None:
        """Nothing to do."""

    def serving(self, name: str) -> AbstractContextManager[Callable[[int], None]]:
        """Not on this system."""
        raise Unsupported(WHY, HINT)

    def listening(self, take: Callable[[str], bool]) -> AbstractContextManager[None]:
        """`take` is never called."""
        return nullcontext()
