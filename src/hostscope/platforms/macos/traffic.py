"""Traffic by process. macOS: not built yet."""

from contextlib import AbstractContextManager

from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.base import Meter
from hostscope.platforms.macos.translate import not_built
from hostscope.platforms.tally import Tally


class Traffic:
    """Answers `Unsupported` for now."""

    def open(self, request: TrafficRequest, tally: Tally) -> AbstractContextManager[Meter]:
        raise not_built("measuring traffic")
