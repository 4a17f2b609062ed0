"""The host's counters."""

from collections.abc import Iterator

from hostscope.model.answer import Answer
from hostscope.model.host import HostCounters, NamedCounter
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally


def collect(host: Host, request: ProcessRequest | None = None) -> Answer[HostCounters]:
    """One row: the counters now."""
    tally = Tally()
    return Answer(_rows(host, tally), tally.coverage)


def named(host: Host, paths: tuple[str, ...], interval_s: float) -> Answer[NamedCounter]:
    """The system's own counters, asked for by name."""
    tally = Tally()

    def rows() -> Iterator[NamedCounter]:
        tally.method = host.name
        for counter in host.counters.named(paths, interval_s):
            tally.seen += 1
            tally.rows += 1
            tally.count_gaps(counter.gaps)
            yield counter

    return Answer(rows(), tally.coverage)


def _rows(host: Host, tally: Tally) -> Iterator[HostCounters]:
    tally.method = host.name
    counters = host.counters.read()
    tally.seen = tally.rows = 1
    tally.count_gaps(counters.gaps)
    yield counters
