"""How names are resolved. Windows: not built yet."""

from collections.abc import Iterator

from hostscope.model.dns import Resolver
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.translate import not_built


class Resolvers:
    """Answers `Unsupported` for now."""

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        raise not_built("reading resolvers")
