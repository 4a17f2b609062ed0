"""Traffic by process. Linux: not built yet."""

from contextlib import AbstractContextManager

from hostscope.errors import Unsupported
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.base import Meter
from hostscope.platforms.tally import Tally


class Traffic:
    """Answers `Unsupported` for now."""

    def open(self, request: TrafficRequest, tally: Tally) -> AbstractContextManager[Meter]:
        raise Unsupported("measuring traffic is not built yet")
