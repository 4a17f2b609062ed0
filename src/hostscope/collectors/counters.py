"""The host's counters."""

from collections.abc import Iterator

from hostscope.model.answer import Answer
from hostscope.model.host import HostCounters
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally


def collect(host: Host, request: ProcessRequest | None = None) -> Answer[HostCounters]:
    """One row: the counters now."""
    tally = Tally()
    return Answer(_rows(host, tally), tally.coverage)


def _rows(host: Host, tally: Tally) -> Iterator[HostCounters]:
    tally.method = host.name
    counters = host.counters.read()
    tally.seen = tally.rows = 1
    tally.count_gaps(counters.gaps)
    yield counters
