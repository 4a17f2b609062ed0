"""Which meter measures: the kernel's own counting, packets, or looking at connections again and again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from msgspec.structs import replace

from hostscope.collectors.capture_meter import open_capture_meter
from hostscope.collectors.polling_meter import open_polling_meter
from hostscope.errors import Denied, Error, Unsupported, UsageError
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_network import Meter
from hostscope.platforms.tally import Tally

Way = Callable[[], AbstractContextManager[Meter]]
Open = Callable[[Host, TrafficRequest, Tally], AbstractContextManager[Meter]]
COMPOSED: dict[str, Open] = {"capture": open_capture_meter, "polling": open_polling_meter}
"""Best first; what needs nothing but packets or sockets of a host. A host's own methods are better."""
OF_PACKETS = frozenset({"wire", "capture"})
"""Methods that count packets, which pass through an interface."""
OF_ALL_INTERFACES = "payload is counted whichever interface it takes: --interface chooses only those of the ledger"


@contextmanager
def open_meter(host: Host, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
    """The best meter there is, or the one that is named.

    Raises:
        UsageError: there is no such method or interface.
        Denied, Unsupported: the named method, or each of them, cannot be used.
    """
    if request.method in COMPOSED:
        opened = COMPOSED[request.method](host, request, tally)
        meter = opened.__enter__()
    else:
        opened, meter = _best(host, request, tally)
    tally.method = meter.method
    if request.interfaces and meter.method not in OF_PACKETS:
        tally.note(OF_ALL_INTERFACES)
    with _entered(opened):
        host.privileges.settle(meter.method)
        yield meter


def _best(host: Host, request: TrafficRequest, tally: Tally) -> tuple[AbstractContextManager[Meter], Meter]:
    reasons: list[str] = []
    first: Error | None = None
    for way in _ways(host, request, tally):
        try:
            opened = way()
            meter = opened.__enter__()
        except (Denied, Unsupported) as failed:
            first = first or failed
            reasons.append(failed.message)
            continue
        if reasons:
            tally.method_reason = "; ".join(reasons)
        return opened, meter
    assert first is not None
    raise first


def _ways(host: Host, request: TrafficRequest, tally: Tally) -> list[Way]:
    """Best first. Payload is not told by interface: where some are named, packets come first."""
    own: Way = partial(host.traffic.open, request, tally)
    if request.method is not None:
        return [own]
    capture, polling = (partial(open_, host, request, tally) for open_ in COMPOSED.values())
    if not request.interfaces:
        return [own, capture, polling]
    return [partial(_open_packets, host, request, tally), capture, own, polling]


@contextmanager
def _open_packets(host: Host, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
    """Packets as the kernel counts them. Raises: Denied, Unsupported, also where there is no such method."""
    try:
        opened = host.traffic.open(replace(request, method="wire"), tally)
        meter = opened.__enter__()
    except UsageError as failed:
        raise Unsupported(f"the kernel counts no packets: {failed.message}") from failed
    with _entered(opened):
        yield meter


@contextmanager
def _entered(opened: AbstractContextManager[Meter]) -> Iterator[None]:
    """The rest of a context that was entered already."""
    try:
        yield
    except BaseException as failed:
        if not opened.__exit__(type(failed), failed, failed.__traceback__):
            raise
    else:
        opened.__exit__(None, None, None)
