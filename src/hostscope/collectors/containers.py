"""Every container."""

from collections.abc import Iterator

from hostscope.model.answer import Answer
from hostscope.model.container import Container
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally


def collect(host: Host, request: ProcessRequest | None = None) -> Answer[Container]:
    """Every container that local state or a control group shows."""
    tally = Tally()
    return Answer(_rows(host, tally), tally.coverage)


def _rows(host: Host, tally: Tally) -> Iterator[Container]:
    tally.method = "local state"
    for container in host.containers.containers():
        tally.seen += 1
        tally.rows += 1
        yield container
