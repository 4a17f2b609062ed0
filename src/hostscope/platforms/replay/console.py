"""The console of a recording: it has none; the program that plays it has the one of its system."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from hostscope.errors import Unsupported


class Console:
    """Nothing has to be prepared, and no event comes by another way than signals."""

    def prepare(self) -> None:
        """Nothing to do."""

    def serving(self, name: str) -> AbstractContextManager[Callable[[int], None]]:
        """Not of a recording."""
        raise Unsupported("a recording is no service")

    def listening(self, take: Callable[[str], bool]) -> AbstractContextManager[None]:
        """`take` is never called."""
        return nullcontext()
