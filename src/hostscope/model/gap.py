"""What could not be seen, and why."""

from enum import StrEnum

from msgspec import Struct


class Reason(StrEnum):
    """Why a value is missing."""

    DENIED = "denied"
    """The system refused: a privilege is missing."""
    GONE = "gone"
    """The process ended while it was being read."""
    UNSUPPORTED = "unsupported"
    """This system, kernel or method does not have the value."""
    UNAVAILABLE = "unavailable"
    """The system has it, but the source did not answer or answered nonsense."""
    TRUNCATED = "truncated"
    """Only a part was read; the part is in the field."""
    NOT_ASKED = "not_asked"
    """The request left the field out; stated once per answer, in its coverage."""


class Gap(Struct, frozen=True, gc=False):
    """One field of one record that is `None` or incomplete for a reason."""

    field: str
    """Dotted path of the field in its record, such as ``linux.namespaces``."""
    reason: Reason
    detail: str | None = None
    """What the system said, or which privilege would help."""
