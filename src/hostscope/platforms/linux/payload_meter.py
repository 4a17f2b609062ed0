"""The cheap method: the kernel adds up, for each process and socket, what system calls return.

bpf/traffic.bpf.c does the counting; here its table is read, kept from filling up, and made flows of.
"""

import os
import time
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from hostscope.model.traffic import Counts, Flow, Ledger, Reading
from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.interface_counts import balance, carried, read_links
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.names import Accounts
from hostscope.platforms.linux.parse import parse_namespace
from hostscope.platforms.linux.payload_record import KEY, USAGE, flow_of

PROGRAMS = ("on_send", "on_receive")
MISSES = (
    "payload only: no headers, no packets of the kernel's own or forwarded ones; unconnected UDP sockets are one row "
    "for all their peers; data that leaves a socket by splice(2) or zero-copy receive is not counted"
)
IDLE_S = 30
"""A pair that has not been used for so long may be taken out of the kernel's table when that fills up."""
CLOCK_MONOTONIC_COARSE = 6
"""Its resolution is the kernel's timer tick, which nothing else tells; Python has no name for it."""
_CROWDED, _ROOMY = 0.5, 0.25


class _Seen(Struct, frozen=True, gc=False):
    """An element as it was last read."""

    value: bytes
    flow: Flow


class PayloadMeter:
    """Implements `hostscope.platforms.base.Meter`."""

    method = "accounting"

    def __init__(self, programs: Programs, boot: Boot, interfaces: tuple[str, ...]) -> None:
        self._programs, self._boot, self._interfaces = programs, boot, interfaces
        self._table = programs.map("usages")
        self._accounts = Accounts()
        self._tick_ns = round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1e9)
        self._seen: dict[bytes, _Seen] = {}
        self._settled: dict[bytes, Flow] = {}
        self._evicted = Counts()
        self._links = read_links(interfaces)
        self._net_ns = parse_namespace(os.readlink("/proc/self/ns/net"))
        self._began_ns = time.monotonic_ns()

    def read(self) -> Reading:
        """See `Meter.read`. Cost: a system call for each 7,000 pairs; 0.5 µs for each, 7 µs for one that was used."""
        self._update()
        flows = tuple(self._flows())
        lost = self._lost()
        return Reading(
            at_ns=time.time_ns(),
            elapsed_ns=time.monotonic_ns() - self._began_ns,
            flows=flows,
            ledger=self._ledger(flows, lost),
            lost=lost,
            evicted=self._evicted,
        )

    def _flows(self) -> Iterator[Flow]:
        """What the kernel has, and what was taken out of its table: a pair may be in both."""
        settled = self._settled
        for key, seen in self._seen.items():
            yield _joined(settled[key], seen.flow) if key in settled else seen.flow
        for key, flow in settled.items():
            if key not in self._seen:
                yield flow

    def _update(self) -> None:
        before, self._seen = self._seen, {}
        for key, value in self._elements():
            seen = before.get(key)
            if seen is None or seen.value != value:
                seen = _Seen(value, flow_of(key, value, self._boot, self._accounts, self._tick_ns))
            self._seen[key] = seen
        if len(self._seen) > self._table.entries * _CROWDED:
            self._make_room()

    def _elements(self) -> Iterator[tuple[bytes, bytes]]:
        for number, keys, values in self._table.pieces():
            for n in range(number):
                yield keys[n * KEY.size : (n + 1) * KEY.size], values[n * USAGE.size : (n + 1) * USAGE.size]

    def _make_room(self) -> None:
        """Takes the pairs that were not used for long out of the kernel's table, the longest idle first.

        What a process does in the microsecond between the last look and the removal is not counted.
        """
        since_ns = time.time_ns() - IDLE_S * 1_000_000_000
        idle = [(seen.flow.last_at_ns or 0, key) for key, seen in self._seen.items()]
        surplus = len(idle) - int(self._table.entries * _ROOMY)
        for last_at_ns, key in sorted(idle)[:surplus]:
            if last_at_ns < since_ns and (value := self._table.lookup(key)) is not None:
                self._table.delete(key)
                self._settle(key, flow_of(key, value, self._boot, self._accounts, self._tick_ns))
                del self._seen[key]

    def _settle(self, key: bytes, flow: Flow) -> None:
        settled = self._settled.pop(key, None)
        self._settled[key] = _joined(settled, flow) if settled else flow
        if len(self._settled) > self._table.entries:
            dropped = self._settled.pop(next(iter(self._settled)))
            self._evicted += dropped.payload or Counts()

    def _lost(self) -> Counts:
        names = ("lost_sent", "lost_received", "lost_sends", "lost_receives")
        return Counts(*(self._programs.variable(name).value for name in names))

    def _ledger(self, flows: tuple[Flow, ...], lost: Counts) -> Ledger:
        """Of our own namespace's interfaces: the sockets of others use others."""
        links = read_links(self._interfaces)
        parts = {"attributed": Counts(), "kernel": Counts(), "other-namespace": Counts()}
        for flow in flows:
            part = "other-namespace" if flow.net_ns != self._net_ns else flow.unknown or "attributed"
            parts[part] += flow.payload or Counts()
        del parts["other-namespace"]
        counted = carried(self._links, links).values()
        names = (link.name for link in links.values())
        return balance(names, counted, {**parts, "lost": lost, "evicted": self._evicted}, estimated=True)


def _joined(before: Flow, flow: Flow) -> Flow:
    """A pair that was taken out of the table and came back."""
    payload = (before.payload or Counts()) + (flow.payload or Counts())
    return replace(flow, payload=payload, first_at_ns=before.first_at_ns)
