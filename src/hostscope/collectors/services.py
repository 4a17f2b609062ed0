"""Every unit of the service manager, and what changes about them."""

import threading
from collections.abc import Iterator

from hostscope.model.answer import Answer
from hostscope.model.event import Event
from hostscope.model.request import ProcessRequest
from hostscope.model.service import ServiceState
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally


def collect(host: Host, request: ProcessRequest | None = None) -> Answer[ServiceState]:
    """Every unit that is loaded."""
    tally = Tally()
    return Answer(_rows(host, tally), tally.coverage)


def changes(host: Host, stop: threading.Event, interval_s: float) -> Iterator[Event]:
    """State changes until `stop` is set."""
    return host.services.changes(stop, interval_s)


def _rows(host: Host, tally: Tally) -> Iterator[ServiceState]:
    tally.method = "service manager"
    for service in host.services.services():
        tally.seen += 1
        tally.rows += 1
        tally.count_gaps(service.gaps)
        yield service
