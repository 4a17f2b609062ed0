"""Rows, and beside them what they cover."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from hostscope.model.coverage import Coverage

Row = TypeVar("Row")


class Answer(Generic[Row]):
    """Rows that can be iterated once, as they are read; `coverage` is known when they are through.

    Rows that nobody keeps are not kept: ten thousand processes stream in the memory of a few.
    """

    def __init__(self, rows: Iterator[Row], coverage: Callable[[], Coverage]) -> None:
        self._rows = rows
        self._coverage = coverage

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def rows(self) -> list[Row]:
        """All rows that were not read yet."""
        return list(self._rows)

    @property
    def coverage(self) -> Coverage:
        """What the rows cover. Reads the rows that are left, and drops them."""
        for _ in self._rows:
            pass
        return self._coverage()
