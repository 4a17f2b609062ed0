"""The package database. Windows: not built yet."""

from hostscope.model.package import FileOwner
from hostscope.platforms.windows.translate import not_built


class Packages:
    """Answers `Unsupported` for now."""

    def owner(self, path: str) -> FileOwner | None:
        raise not_built("owners of files")
