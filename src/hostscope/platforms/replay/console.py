"""The console of a recording: it has none; the program that plays it has the one of its system."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class Console:
    """Nothing has to be prepared, and no event comes by another way than signals."""

    def prepare(self) -> None:
        """Nothing to do."""

    def listening(self, take: Callable[[str], bool]) -> AbstractContextManager[None]:
        """`take` is never called."""
        return nullcontext()
