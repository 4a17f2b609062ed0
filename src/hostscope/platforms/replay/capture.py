"""Packets of interfaces. Not recorded."""

from contextlib import AbstractContextManager

from hostscope.model.capture import CaptureRequest
from hostscope.platforms.base_network import PacketSource
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Capture:
    """Implements `hostscope.platforms.base_network.Capture`: a recording does not hold it."""

    def open(self, request: CaptureRequest, tally: Tally) -> AbstractContextManager[PacketSource]:
        raise not_recorded("capturing packets")
