"""Packets of interfaces. macOS: not built yet."""

from contextlib import AbstractContextManager

from hostscope.model.capture import CaptureRequest
from hostscope.platforms.base import PacketSource
from hostscope.platforms.macos.translate import not_built
from hostscope.platforms.tally import Tally


class Capture:
    """Answers `Unsupported` for now."""

    def open(self, request: CaptureRequest, tally: Tally) -> AbstractContextManager[PacketSource]:
        raise not_built("capturing packets")
