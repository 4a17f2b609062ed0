"""Packages and the files they own: Windows has no database of that."""

from hostscope.errors import Unsupported
from hostscope.model.package import FileOwner


class Packages:
    """Implements `hostscope.platforms.base.Packages`."""

    def owner(self, path: str) -> FileOwner | None:
        """The package that installed `path`; None when no package did.

        Raises:
            Unsupported: always. Windows Installer knows the key file of each component only, Windows Update none by
                path, and most programs are installed by none of them. A packaged program (MSIX) says so itself
                (`WindowsContext.package`).
        """
        raise Unsupported(
            "Windows has no database of which package installed a file",
            "the file's signature (field signature) tells who made it; windows.package its MSIX package",
        )
