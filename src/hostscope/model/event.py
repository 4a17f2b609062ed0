"""What streams yield: things that happened, and what was missed, in order."""

from msgspec import Struct

from hostscope.model.coverage import Coverage
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.service import ServiceState


class Loss(Struct, frozen=True, tag="loss"):
    """Events that were dropped at this place of the stream."""

    events: int
    reason: str


class CoverageChange(Struct, frozen=True, tag="coverage"):
    """What the stream covers from here on."""

    coverage: Coverage


class ServiceChange(Struct, frozen=True, tag="service"):
    """A unit's state changed."""

    before: ServiceState | None
    after: ServiceState | None


class ProcessChange(Struct, frozen=True, tag="process"):
    """A process appeared, changed or ended between two looks."""

    before: Process | None
    after: Process | None


Body = Loss | CoverageChange | ServiceChange | ProcessChange


class Event(Struct, frozen=True):
    """One thing that happened."""

    schema: str
    """Of `body`, such as ``hostscope.service_change/1``."""
    source: str
    """What told: ``polling``, ``dbus``, ``ring buffer``."""
    seq: int
    """Counts up by one within a stream; a hole is a loss."""
    at_ns: int
    """UTC since the epoch."""
    mono_ns: int
    """Monotonic clock of the host, for order."""
    key: ProcessKey | None
    body: Body
