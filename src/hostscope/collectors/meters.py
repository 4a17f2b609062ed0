"""Which meter measures: the kernel's own accounting, packets, or looking at sockets again and again."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from hostscope.errors import Denied, Unsupported
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.base import Host, Meter
from hostscope.platforms.tally import Tally


@contextmanager
def open_meter(host: Host, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
    """The best meter there is, or the one that is named.

    Raises:
        UsageError, Denied, Unsupported
    """
    with _opened(host, request, tally) as meter:
        yield meter


def _opened(host: Host, request: TrafficRequest, tally: Tally) -> AbstractContextManager[Meter]:
    return host.traffic.open(request, tally)


__all__ = ["Denied", "Unsupported", "open_meter"]
