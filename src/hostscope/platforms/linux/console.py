"""The console of Linux: signals say all there is to say."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class Console:
    """Nothing has to be prepared, and no event comes by another way than signals."""

    def prepare(self) -> None:
        """Nothing to do."""

    def listening(self, take: Callable[[str], bool]) -> AbstractContextManager[None]:
        """`take` is never called."""
        return nullcontext()
