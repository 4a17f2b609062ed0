"""Address spaces of processes. Not recorded."""

from contextlib import AbstractContextManager
from typing import BinaryIO

from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.platforms.base_memory import AddressSpace
from hostscope.platforms.replay.translate import not_recorded


class Memory:
    """Implements `hostscope.platforms.base_memory.Memory`: a recording does not hold it."""

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        raise not_recorded("reading memory maps")

    def open(self, key: ProcessKey) -> AbstractContextManager[AddressSpace]:
        raise not_recorded("reading memory")

    def give_way(self) -> None:
        """A recording's processes do not run."""

    def executable(self, key: ProcessKey) -> AbstractContextManager[BinaryIO]:
        raise not_recorded("reading executables")
