"""Sockets of the recorded host: not recorded yet."""

from collections.abc import Iterator

from hostscope.model.socket import Socket, SocketRequest
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Sockets:
    """Implements `hostscope.platforms.base.Sockets`."""

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        raise not_recorded("sockets")

    def owners(self, port: int) -> tuple[int, ...]:
        """Not recorded.

        Raises:
            Unsupported: always.
        """
        raise not_recorded(f"the owners of port {port}")
