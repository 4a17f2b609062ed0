"""Sockets and their owners. Windows: not built yet."""

from hostscope.platforms.windows.translate import not_built


class Sockets:
    """Answers `Unsupported` for now."""

    def owners(self, port: int) -> tuple[int, ...]:
        raise not_built("owners of ports")
