"""Sockets and their owners. macOS: not built yet."""

from hostscope.platforms.macos.translate import not_built


class Sockets:
    """Answers `Unsupported` for now."""

    def owners(self, port: int) -> tuple[int, ...]:
        raise not_built("owners of ports")
