"""Network interfaces. Not recorded."""

from collections.abc import Iterator

from hostscope.model.interface import Interface
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Interfaces:
    """Implements `hostscope.platforms.base.Interfaces`: a recording does not hold it."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        raise not_recorded("listing interfaces")
