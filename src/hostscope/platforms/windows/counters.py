"""The host's counters. Windows: not built yet."""

from hostscope.model.host import HostCounters
from hostscope.platforms.windows.translate import not_built


class Counters:
    """Answers `Unsupported` for now."""

    def read(self) -> HostCounters:
        raise not_built("host counters")
