"""Network interfaces. macOS: not built yet."""

from collections.abc import Iterator

from hostscope.model.interface import Interface
from hostscope.platforms.macos.translate import not_built
from hostscope.platforms.tally import Tally


class Interfaces:
    """Answers `Unsupported` for now."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        raise not_built("listing interfaces")
