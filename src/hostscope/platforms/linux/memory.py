"""Address spaces of processes. Linux: not built yet."""

from contextlib import AbstractContextManager

from hostscope.errors import Unsupported
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.platforms.base import AddressSpace


class Memory:
    """Answers `Unsupported` for now."""

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        raise Unsupported("reading memory maps is not built yet")

    def open(self, key: ProcessKey) -> AbstractContextManager[AddressSpace]:
        raise Unsupported("reading memory is not built yet")
