"""Traffic by process. Not recorded."""

from contextlib import AbstractContextManager

from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.base_network import Meter
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Traffic:
    """Implements `hostscope.platforms.base_network.Traffic`: a recording does not hold it."""

    def open(self, request: TrafficRequest, tally: Tally) -> AbstractContextManager[Meter]:
        raise not_recorded("measuring traffic")
