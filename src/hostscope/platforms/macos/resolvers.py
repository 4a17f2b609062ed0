"""How names are resolved. macOS: not built yet."""

from collections.abc import Iterator

from hostscope.model.dns import Resolver
from hostscope.platforms.macos.translate import not_built
from hostscope.platforms.tally import Tally


class Resolvers:
    """Answers `Unsupported` for now."""

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        raise not_built("reading resolvers")
