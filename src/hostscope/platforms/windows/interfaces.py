"""Network interfaces. Windows: not built yet."""

from collections.abc import Iterator

from hostscope.model.interface import Interface
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.translate import not_built


class Interfaces:
    """Answers `Unsupported` for now."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        raise not_built("listing interfaces")
