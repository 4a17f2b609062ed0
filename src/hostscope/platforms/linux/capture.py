"""Packets of interfaces. Linux: not built yet."""

from contextlib import AbstractContextManager

from hostscope.errors import Unsupported
from hostscope.model.capture import CaptureRequest
from hostscope.platforms.base import PacketSource
from hostscope.platforms.tally import Tally


class Capture:
    """Answers `Unsupported` for now."""

    def open(self, request: CaptureRequest, tally: Tally) -> AbstractContextManager[PacketSource]:
        raise Unsupported("capturing packets is not built yet")
