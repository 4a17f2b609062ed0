"""Comparing looks at processes that go on meanwhile."""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Place = TypeVar("Place", bound=Hashable)
Difference = TypeVar("Difference")

AGAIN = 19
"""A busy process may do and undo something between looks several times in a row; what is read wrongly is always so."""


def lasting(compare: Callable[[], Mapping[Place, Difference]]) -> dict[Place, Difference]:
    """What differs, by its place, in each of many comparisons, as the last one found it."""
    found = dict(compare())
    for _ in range(AGAIN):
        if not found:
            break
        again = compare()
        found = {place: again[place] for place in found.keys() & again.keys()}
    return found
