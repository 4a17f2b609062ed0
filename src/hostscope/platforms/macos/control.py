"""One operating system, to act on. Only `hostscope.respond` may import it. macOS: not built yet."""

from hostscope.model.key import ProcessKey
from hostscope.platforms.macos.translate import not_built


class Control:
    """Answers `Unsupported` for now."""

    def terminate(self, key: ProcessKey, force: bool) -> None:
        raise not_built("terminating processes")

    def suspend(self, key: ProcessKey) -> None:
        raise not_built("suspending processes")

    def resume(self, key: ProcessKey) -> None:
        raise not_built("resuming processes")
