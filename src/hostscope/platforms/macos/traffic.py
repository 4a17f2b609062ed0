"""Traffic by process, as the kernel counts it for each connection (what nettop shows)."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hostscope.errors import UsageError
from hostscope.model.interface import InterfaceCounters
from hostscope.model.traffic import Counts, Flow, Ledger, Reading, TrafficRequest
from hostscope.platforms.base_network import Meter
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.macos.interfaces import read_links
from hostscope.platforms.macos.network_statistics import NetworkStatistics
from hostscope.platforms.macos.owners import Owner, Owners
from hostscope.platforms.macos.parse_ntstat import Described
from hostscope.platforms.macos.raised import raised
from hostscope.platforms.tally import Tally
from hostscope.wire.ledger import balance

METHODS = ("ntstat", "accounting")
"""The second is what everybody calls counting in the kernel."""
MISSES = (
    "payload of TCP, UDP and QUIC, as the kernel counts it for each connection; nothing of other protocols, of raw "
    "sockets, and of what is forwarded"
)
GONE, KERNEL = "gone", "kernel"


class Traffic:
    """Implements `hostscope.platforms.base_network.Traffic`."""

    def __init__(self, owners: Owners, privileges: Privileges | None = None) -> None:
        self._owners, self._privileges = owners, privileges

    @contextmanager
    def open(self, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
        """See `Traffic.open`: ``ntstat``. ``capture`` and ``polling`` are made of packets and sockets, by everybody.

        Source: kernel control com.apple.network.statistics (private).

        Raises:
            UsageError: there is no such method or interface.
            Denied, Unsupported
        """
        if request.method is not None and request.method not in METHODS:
            raise UsageError(f"there is no method {request.method!r}", "methods here: ntstat, capture, polling")
        _counted(request.interfaces)
        with raised(self._privileges, "count what connections carry"):
            statistics = NetworkStatistics(request.max_flows)
        try:
            tally.method = METHODS[0]
            tally.note(f"counts {MISSES}")
            tally.note(f"layout of {', '.join(sorted(statistics.versions)) or 'no connection yet'}")
            yield ConnectionMeter(statistics, self._owners, request.interfaces, tally)
        finally:
            statistics.close()


class ConnectionMeter:
    """Implements `hostscope.platforms.base_network.Meter`."""

    method = METHODS[0]

    def __init__(
        self, statistics: NetworkStatistics, owners: Owners, interfaces: tuple[str, ...], tally: Tally
    ) -> None:
        self._statistics, self._owners, self._names, self._tally = statistics, owners, interfaces, tally
        self._before = _counted(interfaces)
        self._known: dict[int, tuple[str, Owner | None]] = {}
        """Who had each connection, from when it was first seen: pids are given away again."""
        self._began_ns = time.monotonic_ns()

    def read(self) -> Reading:
        """See `Meter.read`. Cost: one question for a hundred connections or so, two calls for all processes.

        Raises:
            NativeError
        """
        self._statistics.update()
        if self._statistics.unknown:
            self._tally.note(f"{self._statistics.unknown} updates of the kernel had a layout that is not known")
            self._tally.hidden = "some connections of the kernel's statistics could not be understood"
        owners, numbers = self._owners(), {link.number: link.name for link in read_links()}
        flows = tuple(self._flow(flow, owners, numbers) for flow in self._statistics.flows.values())
        ledger = self._ledger(flows)
        elapsed_ns = time.monotonic_ns() - self._began_ns
        return Reading(time.time_ns(), elapsed_ns, flows, ledger, self._statistics.lost)

    def _flow(self, found: Described, owners: Mapping[int, Owner], interfaces: Mapping[int, str]) -> Flow:
        owner = self._owner(found, owners)
        counts = found.counts - self._statistics.began.get(found.source, Counts())
        return Flow(
            protocol=found.protocol,
            local=found.local,
            remote=found.remote,
            key=owner.key if owner else None,
            name=(owner.name if owner else found.name) or None,
            unknown=None if owner else KERNEL if found.pid == 0 else GONE,
            interface=interfaces.get(found.interface),
            cookie=found.source,
            payload=counts,
            closed=found.closing,
        )

    def _owner(self, found: Described, owners: Mapping[int, Owner]) -> Owner | None:
        """The process for which it is: of what a daemon does for another, that other one, as nettop has it."""
        known = self._known.get(found.source)
        if known is None or known[0] != found.name:
            owner = owners.get(found.effective_pid or found.pid) if found.pid else None
            known = self._known[found.source] = (found.name, owner)
        return known[1]

    def _ledger(self, flows: tuple[Flow, ...]) -> Ledger:
        """Payload of connections beside what the interfaces carried: the rest is headers and other protocols."""
        carried = {name: counts - self._before.get(name, Counts()) for name, counts in _counted(self._names).items()}
        parts = {reason: _sum(flows, reason) for reason in ("attributed", GONE, KERNEL)}
        return balance(sorted(carried), carried.values(), parts, estimated=True)


def _sum(flows: tuple[Flow, ...], reason: str) -> Counts:
    meant = None if reason == "attributed" else reason
    return sum((flow.payload for flow in flows if flow.unknown == meant and flow.payload), Counts())


def _counted(names: tuple[str, ...]) -> dict[str, Counts]:
    """What interfaces have counted so far.

    Raises:
        UsageError: there is no interface of a name.
    """
    links = {link.name: link.counters for link in read_links()}
    if missing := [name for name in names if name not in links]:
        raise UsageError(f"there is no interface {missing[0]!r}", f"interfaces: {', '.join(sorted(links))}")
    return {name: _counts(counters) for name, counters in links.items() if not names or name in names}


def _counts(counters: InterfaceCounters) -> Counts:
    return Counts(counters.sent_bytes, counters.received_bytes, counters.sent_packets, counters.received_packets)
