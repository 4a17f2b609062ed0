"""One operating system, to act on. Only `hostscope.respond` may import it. Linux: not built yet."""

from hostscope.errors import Unsupported
from hostscope.model.key import ProcessKey


def _not_built() -> Unsupported:
    return Unsupported("acting on processes is not built yet")


class Control:
    """Answers `Unsupported` for now."""

    def terminate(self, key: ProcessKey, force: bool) -> None:
        raise _not_built()

    def suspend(self, key: ProcessKey) -> None:
        raise _not_built()

    def resume(self, key: ProcessKey) -> None:
        raise _not_built()
