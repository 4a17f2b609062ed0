"""How names are resolved. Not recorded."""

from collections.abc import Iterator

from hostscope.model.dns import Resolver
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Resolvers:
    """Implements `hostscope.platforms.base.Resolvers`: a recording does not hold it."""

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        raise not_recorded("reading resolvers")
