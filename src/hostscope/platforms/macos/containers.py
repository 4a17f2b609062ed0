"""Containers, by the runtimes' local state. macOS: not built yet."""

from collections.abc import Iterator

from hostscope.model.container import Container
from hostscope.platforms.macos.translate import not_built


class Containers:
    """Answers `Unsupported` for now."""

    def describe(self, container: Container) -> Container:
        raise not_built("container names and images")

    def containers(self) -> Iterator[Container]:
        raise not_built("listing containers")
