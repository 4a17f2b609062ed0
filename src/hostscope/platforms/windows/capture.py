"""Packets of interfaces. Windows: not built yet."""

from contextlib import AbstractContextManager

from hostscope.model.capture import CaptureRequest
from hostscope.platforms.base import PacketSource
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.translate import not_built


class Capture:
    """Answers `Unsupported` for now."""

    def open(self, request: CaptureRequest, tally: Tally) -> AbstractContextManager[PacketSource]:
        raise not_built("capturing packets")
