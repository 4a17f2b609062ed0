"""Reading one field: its value, or the gap that says why not. One refusal never costs a row more than its field."""

from collections.abc import Callable
from typing import TypeVar

from hostscope.errors import Error
from hostscope.model.gap import Gap, Reason
from hostscope.platforms.windows import translate

Value = TypeVar("Value")


def attempt(field: str, read: Callable[..., Value], *arguments: object) -> Value | Gap:
    """What `read` gives, or the gap of `field`."""
    try:
        return read(*arguments)
    except (OSError, Error, ValueError) as failed:
        return as_gap(field, failed)


def as_gap(field: str, failed: Exception) -> Gap:
    """The gap for a refusal, an export that this Windows lacks, or an answer that makes no sense."""
    if isinstance(failed, Error):
        return Gap(field, failed.reason, failed.message)
    if isinstance(failed, OSError):
        return translate.gap(field, failed)
    return Gap(field, Reason.UNAVAILABLE, str(failed))


def value_of(found: Value | Gap, gaps: list[Gap]) -> Value | None:
    """The value, or None with its gap kept."""
    if isinstance(found, Gap):
        gaps.append(found)
        return None
    return found
