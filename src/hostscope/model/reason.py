"""Why a value is missing. On its own, since errors name it and start before any record is needed."""

from enum import StrEnum


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
