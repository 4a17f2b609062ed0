"""One field fails: a gap. Its reason is the error's."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hostscope import log
from hostscope.errors import Error, Unsupported
from hostscope.model.gap import Gap, Reason

if TYPE_CHECKING:
    from hostscope.platforms.base import Host

Result = TypeVar("Result")


def refuse_recording(host: "Host") -> None:
    """For what compares looks: two looks at a recording are the same, and prove nothing.

    Raises:
        Unsupported: the host is a recording.
    """
    if host.at_ns is not None:
        raise Unsupported("a recording holds one moment, not two to compare", "leave out --replay")


def gap_for(field: str, error: Error) -> Gap:
    """The gap that an error leaves in a field."""
    return Gap(field, reason_of(error), error.message)


def reason_of(error: Error) -> Reason:
    """Why a value is missing after this error."""
    return error.reason


def attempt(field: str, gaps: list[Gap], read: Callable[[], Result]) -> Result | None:
    """What `read` returns; None with a gap when it raises one of our errors."""
    try:
        return read()
    except Error as error:
        gaps.append(gap_for(field, error))
        log.debug("not_read", field=field, error=type(error).__name__)
        return None
