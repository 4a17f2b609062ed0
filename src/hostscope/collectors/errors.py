"""One field fails: a gap. Which reason each error is."""

from collections.abc import Callable
from typing import TypeVar

from hostscope import log
from hostscope.errors import Denied, Error, Gone, Mismatch, Unsupported
from hostscope.model.gap import Gap, Reason

Result = TypeVar("Result")


def gap_for(field: str, error: Error) -> Gap:
    """The gap that an error leaves in a field."""
    return Gap(field, reason_of(error), error.message)


def reason_of(error: Error) -> Reason:
    """Why a value is missing after this error."""
    if isinstance(error, Denied):
        return Reason.DENIED
    if isinstance(error, (Gone, Mismatch)):
        return Reason.GONE
    return Reason.UNSUPPORTED if isinstance(error, Unsupported) else Reason.UNAVAILABLE


def attempt(field: str, gaps: list[Gap], read: Callable[[], Result]) -> Result | None:
    """What `read` returns; None with a gap when it raises one of our errors."""
    try:
        return read()
    except Error as error:
        gaps.append(gap_for(field, error))
        log.debug("not_read", field=field, error=type(error).__name__)
        return None
