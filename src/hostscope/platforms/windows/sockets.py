"""Sockets and their owners. Windows: not built yet."""

from collections.abc import Iterator

from hostscope.model.socket import Socket, SocketRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.translate import not_built


class Sockets:
    """Answers `Unsupported` for now."""

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        raise not_built("listing sockets")

    def owners(self, port: int) -> tuple[int, ...]:
        raise not_built("owners of ports")
