"""Waiting for what another process does."""

import time
from collections.abc import Callable

LOOK_S = 0.05


def eventually(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Looks until it holds; fails when it never does."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never held"
        time.sleep(LOOK_S)
