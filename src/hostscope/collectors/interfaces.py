"""Every network interface, and what passes through it a second."""

import threading
from collections.abc import Iterator
from time import sleep

from hostscope.collectors.errors import refuse_recording
from hostscope.collectors.rates import Rates
from hostscope.collectors.turns import turns
from hostscope.model.answer import Answer
from hostscope.model.interface import Interface
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally


def collect(host: Host, request: ProcessRequest | None = None, between_ns: int | None = None) -> Answer[Interface]:
    """Every interface; with `between_ns` looked at twice, so far apart, to fill `rates`."""
    tally = Tally()
    return Answer(_rows(host, tally, between_ns), tally.coverage)


def looks(host: Host, stop: threading.Event, interval_s: float) -> Iterator[Answer[Interface]]:
    """Every interface once, and again until `stop` is set, with `rates` since the look before."""
    refuse_recording(host)
    rates = Rates()
    for _ in turns(stop, interval_s):
        tally = Tally()
        yield Answer(rates.take(_counted(host, tally)), tally.coverage)


def _rows(host: Host, tally: Tally, between_ns: int | None) -> Iterator[Interface]:
    if between_ns is None:
        yield from _counted(host, tally)
        return
    refuse_recording(host)
    rates = Rates()
    for _ in rates.take(host.interfaces.interfaces(Tally())):
        pass
    sleep(between_ns / 1e9)
    yield from rates.take(_counted(host, tally))


def _counted(host: Host, tally: Tally) -> Iterator[Interface]:
    for row in host.interfaces.interfaces(tally):
        tally.rows += 1
        tally.count_gaps(row.gaps)
        yield row
