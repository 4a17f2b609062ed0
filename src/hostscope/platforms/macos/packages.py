"""The package database."""

from hostscope.errors import Unsupported
from hostscope.model.package import FileOwner


class Packages:
    """macOS has receipts of what installers wrote, and no index from a file to its package that can be trusted."""

    def owner(self, path: str) -> FileOwner | None:
        """Raises `Unsupported`."""
        raise Unsupported("macOS has no database of files and their packages", "hostscope verify checks signatures")
