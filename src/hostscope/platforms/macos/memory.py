"""Address spaces of processes. macOS: not built yet."""

from contextlib import AbstractContextManager
from typing import BinaryIO

from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.platforms.base import AddressSpace
from hostscope.platforms.macos.translate import not_built


class Memory:
    """Answers `Unsupported` for now."""

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        raise not_built("reading memory maps")

    def open(self, key: ProcessKey) -> AbstractContextManager[AddressSpace]:
        raise not_built("reading memory")

    def give_way(self) -> None:
        """Nothing is read yet that others should run before."""

    def executable(self, key: ProcessKey) -> AbstractContextManager[BinaryIO]:
        raise not_built("reading executables")
