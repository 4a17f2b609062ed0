"""Network interfaces. Linux: not built yet."""

from collections.abc import Iterator

from hostscope.errors import Unsupported
from hostscope.model.interface import Interface
from hostscope.platforms.tally import Tally


class Interfaces:
    """Answers `Unsupported` for now."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        raise Unsupported("listing interfaces is not built yet")
