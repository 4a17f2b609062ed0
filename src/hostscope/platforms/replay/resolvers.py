"""How names are resolved. Not recorded."""

import threading
from collections.abc import Iterator

from hostscope.model.dns import DnsQuery, Resolver
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Resolvers:
    """Implements `hostscope.platforms.base_network.Resolvers`: a recording does not hold it."""

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        raise not_recorded("reading resolvers")

    def queries(self, stop: threading.Event, tally: Tally) -> Iterator[DnsQuery]:
        raise not_recorded("watching questions")
