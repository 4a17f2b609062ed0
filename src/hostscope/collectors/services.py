"""Every unit of the service manager, and what changes about them."""

import threading
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from hostscope.collectors.errors import attempt
from hostscope.model.answer import Answer
from hostscope.model.event import Event
from hostscope.model.gap import Gap
from hostscope.model.request import ProcessRequest
from hostscope.model.service import ServiceState
from hostscope.model.signature import Signature
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally


def collect(host: Host, request: ProcessRequest | None = None) -> Answer[ServiceState]:
    """Every unit that is loaded; with the field `signature` also who vouches for its code."""
    tally = Tally()
    signs = request is not None and "signature" in request.wanted
    return Answer(_rows(host, tally, _signing(host) if signs else None), tally.coverage)


def changes(host: Host, stop: threading.Event, interval_s: float) -> Iterator[Event]:
    """State changes until `stop` is set."""
    return host.services.changes(stop, interval_s)


def _signing(host: Host) -> Callable[[ServiceState], ServiceState]:
    from hostscope.collectors.signatures import Signatures  # brings cryptography along

    signatures = Signatures(host)
    known: dict[str, tuple[Signature | None, tuple[Gap, ...]]] = {}

    def signed(service: ServiceState) -> ServiceState:
        path = (service.scm.library or service.scm.program) if service.scm else None
        if path is None:
            return service
        if path not in known:
            gaps: list[Gap] = []
            verdict = attempt("signature", gaps, lambda: signatures.of_host(path))
            known[path] = verdict, tuple(gaps)
        return replace(service, signature=known[path][0], gaps=(*service.gaps, *known[path][1]))

    return signed


def _rows(host: Host, tally: Tally, signed: Callable[[ServiceState], ServiceState] | None) -> Iterator[ServiceState]:
    tally.method = "service manager"
    services = host.services.services()
    for service in services if signed is None else map(signed, services):
        tally.seen += 1
        tally.rows += 1
        tally.count_gaps(service.gaps)
        yield service
