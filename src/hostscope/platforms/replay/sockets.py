"""Sockets of the recorded host: not recorded yet."""

from hostscope.platforms.replay.translate import not_recorded


class Sockets:
    """Implements `hostscope.platforms.base.Sockets`."""

    def owners(self, port: int) -> tuple[int, ...]:
        """Not recorded.

        Raises:
            Unsupported: always.
        """
        raise not_recorded(f"the owners of port {port}")
