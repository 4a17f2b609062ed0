"""How names are resolved. Linux: not built yet."""

from collections.abc import Iterator

from hostscope.errors import Unsupported
from hostscope.model.dns import Resolver
from hostscope.platforms.tally import Tally


class Resolvers:
    """Answers `Unsupported` for now."""

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        raise Unsupported("reading resolvers is not built yet")
