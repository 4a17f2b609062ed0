"""What could not be seen, and why."""

from msgspec import Struct

from hostscope.model.reason import Reason

__all__ = ["Gap", "Reason"]


class Gap(Struct, frozen=True, gc=False):
    """One field of one record that is `None` or incomplete for a reason."""

    field: str
    """Dotted path of the field in its record, such as ``linux.namespaces``."""
    reason: Reason
    detail: str | None = None
    """What the system said, or which privilege would help."""
