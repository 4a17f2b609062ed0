"""Traffic by process from the kernel's own events, which tell of every send and receive."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from time import monotonic_ns, time_ns

from hostscope.errors import UsageError
from hostscope.model.interface import Interface
from hostscope.model.traffic import Counts, Flow, Ledger, Reading
from hostscope.platforms.windows.etw import EtwSession, Provider
from hostscope.platforms.windows.etw_flows import EtwFlows
from hostscope.platforms.windows.parse_etw import (
    DNS_CLIENT,
    IPV4_KEYWORD,
    IPV6_KEYWORD,
    KERNEL_NETWORK,
    KERNEL_PROCESS,
    NETWORK_EVENTS,
    QUERY_ENDED,
)
from hostscope.platforms.windows.parse_etw_process import KEYWORD_PROCESS, PROCESS_START
from hostscope.wire.ledger import balance

METHOD = "etw"
MISSES = (
    "payload only: no headers, no packets of the kernel's own or forwarded ones; what passes a loopback address is "
    "not in the ledger, for no interface counts it"
)
DELIVERY_S = 0.1
"""After buffers were flushed, until their events have come."""
NETWORK = Provider(KERNEL_NETWORK, IPV4_KEYWORD | IPV6_KEYWORD, events=frozenset(NETWORK_EVENTS))
STARTS = Provider(KERNEL_PROCESS, KEYWORD_PROCESS, events=frozenset({PROCESS_START}))
NAMES = Provider(DNS_CLIENT, events=frozenset({QUERY_ENDED}))

Interfaces = Callable[[], Mapping[str, Interface]]


class EtwMeter:
    """Implements `hostscope.platforms.base_network.Meter`."""

    method = METHOD

    def __init__(self, session: EtwSession, flows: EtwFlows, interfaces: Interfaces, stop: threading.Event) -> None:
        """`stop` is the session's, set when the meter ends."""
        self._session, self._flows, self._interfaces, self._stop = session, flows, interfaces, stop
        self._lock = threading.Lock()
        self._failed: BaseException | None = None
        self._before = interfaces()
        self._began_ns = monotonic_ns()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Events are taken while the block runs."""
        thread = threading.Thread(target=self._run, name="etw-meter")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        try:
            for batch in self._session.batches():
                with self._lock:
                    for record in batch:
                        self._flows.feed(record)
        except BaseException as failed:  # raised where the meter is read
            self._failed = failed

    def read(self) -> Reading:
        """See `Meter.read`. Cost: 0.1 s until the last events have come, and 10 µs a flow.

        Raises:
            whatever ended the session.
        """
        if self._failed is not None:
            raise self._failed
        now = self._interfaces()
        self._session.flush()
        self._stop.wait(DELIVERY_S)
        with self._lock:
            flows, evicted = self._flows.flows(), self._flows.evicted
        lost = Counts(0, 0, 0, self._session.lost().total + self._flows.unreadable)
        ledger = self._ledger(now, flows, evicted)
        return Reading(time_ns(), monotonic_ns() - self._began_ns, flows, ledger, lost, evicted)

    def _ledger(self, now: Mapping[str, Interface], flows: tuple[Flow, ...], evicted: Counts) -> Ledger:
        parts = {"attributed": Counts(), "evicted": evicted}
        for flow in flows:
            if not _stays_here(flow):
                part = flow.unknown or "attributed"
                parts[part] = parts.get(part, Counts()) + (flow.payload or Counts())
        counted = [_counts(one) - _counts(self._before.get(name)) for name, one in now.items()]
        return balance(now.keys(), counted, parts, estimated=True)


def named_interfaces(found: Iterator[Interface], names: tuple[str, ...]) -> dict[str, Interface]:
    """By name; all, or those that are named.

    Raises:
        UsageError: there is no interface of a name.
    """
    interfaces = {one.name: one for one in found}
    if missing := [name for name in names if name not in interfaces]:
        raise UsageError(f"there is no interface {missing[0]!r}", f"interfaces: {', '.join(interfaces)}")
    return {name: one for name, one in interfaces.items() if not names or name in names}


def _stays_here(flow: Flow) -> bool:
    """What goes from one of our addresses to the same one, or to a loopback address."""
    remote = flow.remote
    return remote is not None and (remote.address == flow.local.address or ip_address(remote.address).is_loopback)


def _counts(interface: Interface | None) -> Counts:
    if interface is None or interface.counters is None:
        return Counts()
    c = interface.counters
    return Counts(c.sent_bytes, c.received_bytes, c.sent_packets, c.received_packets)
