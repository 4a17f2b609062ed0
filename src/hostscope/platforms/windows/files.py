"""Content of executables. Windows: not built yet."""

from typing import BinaryIO

from hostscope.model.key import ProcessKey
from hostscope.model.package import FileOwner
from hostscope.model.process import Digest, Executable
from hostscope.model.signature import Seal
from hostscope.platforms.windows.translate import not_built


class Files:
    """Answers `Unsupported` for now."""

    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        raise not_built("digests of executables")

    def matches(self, key: ProcessKey, exe: Executable, owner: FileOwner) -> bool | None:
        raise not_built("comparing executables with their packages")

    def seals(self, file: BinaryIO) -> tuple[Seal, ...]:
        """None: Windows keeps signatures in the files themselves, or in catalogues."""
        return ()
