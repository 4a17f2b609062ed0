"""Which moment ages are told at: the present, or that of a recording while one is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import time_ns

_MOMENT: ContextVar[int | None] = ContextVar("moment", default=None)


def now_ns() -> int:
    """Since the epoch, UTC."""
    moment = _MOMENT.get()
    return time_ns() if moment is None else moment


@contextmanager
def at(moment_ns: int | None) -> Iterator[None]:
    """Ages within the block are told at this moment; None is the present, as it goes on."""
    before = _MOMENT.get()
    _MOMENT.set(moment_ns)
    try:
        yield
    finally:
        _MOMENT.set(before)
