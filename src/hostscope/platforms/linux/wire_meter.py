"""What interfaces carry, counted by the kernel and attributed by the sockets that there are and were."""

import time
from collections.abc import Callable, Iterable

from hostscope.model.socket import Endpoint, Socket
from hostscope.model.traffic import Counts, Flow, Ledger, Reading
from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.count_table import tick_ns
from hostscope.platforms.linux.packet_counter import (
    Element,
    PacketCounter,
    Situation,
    in_units_of,
    receiving_headless,
    segmenting,
)
from hostscope.platforms.linux.packet_counters import PacketCounters
from hostscope.platforms.linux.packet_owners import PacketOwners, Verdict
from hostscope.platforms.linux.packet_record import Carried, without_identifier
from hostscope.platforms.linux.payload_meter import PayloadMeter
from hostscope.platforms.linux.rtnetlink import Link
from hostscope.platforms.socket_index import GONE, Ends, Holder, HostSockets
from hostscope.wire.ledger import balance

MISSES = (
    "packets as interfaces count them, link headers included; of a socket that several processes use, all stand with "
    "the one that uses it most"
)
SWEEP_NS, SHARE = 100_000_000, 8
"""Sockets are listed at most this often, and for at most that part of the time."""


class _Sum:
    """A flow while its directions are added up."""

    __slots__ = ("counts", "ends", "first_ns", "last_ns", "link", "net_ns", "verdict")

    def __init__(self, ends: Ends, verdict: Verdict, net_ns: int | None, link: Link | None) -> None:
        self.ends, self.verdict, self.net_ns, self.link = ends, verdict, net_ns, link
        self.counts = Counts()
        self.first_ns, self.last_ns = 1 << 63, 0

    def add(self, carried: Carried, counts: Counts, tick: int) -> None:
        self.counts += counts
        self.first_ns = min(self.first_ns, carried.first_ns)
        self.last_ns = max(self.last_ns, carried.first_ns + (carried.last_tick - carried.first_tick) * tick)

    def flow(self, boot_ns: int) -> Flow:
        protocol, here, port, there, other_port = without_identifier(self.ends)
        holder = self.verdict if isinstance(self.verdict, Holder) else None
        return Flow(
            protocol=protocol,
            local=Endpoint(here, port),
            remote=Endpoint(there, other_port) if there else None,
            key=holder.key if holder else None,
            name=holder.name if holder else None,
            unknown=None if holder else str(self.verdict),
            user=holder.user if holder else None,
            direction=holder.direction if holder else None,
            net_ns=self.net_ns,
            interface=self.link.name if self.link else None,
            cookie=holder.cookie if holder else None,
            wire=self.counts,
            first_at_ns=boot_ns + self.first_ns,
            last_at_ns=boot_ns + self.last_ns,
        )


class WireMeter:
    """Implements `hostscope.platforms.base_network.Meter`."""

    method = "wire"

    def __init__(
        self,
        boot: Boot,
        counters: PacketCounters,
        payload: PayloadMeter | None,
        sweep: Callable[[], Iterable[Socket]],
        interfaces: tuple[str, ...],
    ) -> None:
        """Begins to count.

        Args:
            counters: of the namespaces, ours first.
            payload: tells who used which socket, however short; None where the kernel cannot tell.
            sweep: lists the sockets that there are.
        """
        self._boot, self._counters, self._payload, self._sweep = boot, counters, payload, sweep
        self._interfaces, self._tick_ns = interfaces, tick_ns()
        self._index = HostSockets()
        self._added: dict[int, Flow] = {}
        self._settled: list[Flow] = []
        self._next_sweep_ns = 0
        self._list_sockets()
        counters.find_others()
        self._began_ns = time.monotonic_ns()

    def read(self) -> Reading:
        """See `Meter.read`. Cost: 10 µs for each pair of ends on an interface, and of the sockets listed."""
        self._learn()
        ours = self._counters.ours
        elements, now = ours.read()
        judged = self._judge(ours, elements, now)
        if any(verdict == GONE for _, verdict in judged) and self._list_sockets():
            judged = self._judge(ours, elements, now)
        flows, parts = self._add_up(ours, judged, now)
        lost = ours.lost()
        return Reading(
            at_ns=time.time_ns(),
            elapsed_ns=time.monotonic_ns() - self._began_ns,
            flows=(*flows, *self._elsewhere()),
            ledger=self._ledger(now, parts, lost),
            lost=lost,
        )

    def _learn(self) -> None:
        """Adds what processes did with sockets since the last time."""
        if self._payload is None:
            self._list_sockets()
            return
        flows = self._payload.flows()
        for flow in flows:
            if self._added.get(id(flow)) is not flow:
                self._index.add_flow(flow)
        self._added = {id(flow): flow for flow in flows}

    def _list_sockets(self) -> bool:
        """Lists sockets again unless that was done just now; whether it was done."""
        began_ns = time.monotonic_ns()
        if began_ns < self._next_sweep_ns:
            return False
        for socket in self._sweep():
            self._index.add_socket(socket)
        ended_ns = time.monotonic_ns()
        self._next_sweep_ns = ended_ns + max(SWEEP_NS, (ended_ns - began_ns) * (SHARE - 1))
        return True

    def _judge(self, counter: PacketCounter, elements: list[Element], now: Situation) -> list[tuple[Element, Verdict]]:
        wanted = elements
        if self._interfaces:
            chosen = {link.index for link in now.links.values() if link.name in self._interfaces}
            wanted = [element for element in elements if element.packets.interface in chosen]
        return PacketOwners(counter.net_ns, now, self._index).judge(wanted)

    def _add_up(
        self, counter: PacketCounter, judged: list[tuple[Element, Verdict]], now: Situation
    ) -> tuple[list[Flow], dict[str, Counts]]:
        """Flows, and the sums by reason; both in the units of the interfaces."""
        counted, elements = counter.counted(now), [element for element, _ in judged]
        segmented = segmenting(elements, counted)
        headless = receiving_headless(elements, counted, now.links, segmented)
        sums: dict[object, _Sum] = {}
        parts = {"attributed": Counts()}
        for element, verdict in judged:
            carried, index = element.carried, element.packets.interface
            link = now.links.get(index) or counter.before.links.get(index)
            counts = in_units_of(link, element.packets, carried, index in segmented, index in headless)
            who = verdict.key if isinstance(verdict, Holder) else verdict
            place = (who, element.packets.ends, index)
            if place not in sums:
                sums[place] = _Sum(element.packets.ends, verdict, counter.net_ns, link)
            sums[place].add(carried, counts, self._tick_ns)
            part = verdict if isinstance(verdict, str) else "attributed"
            parts[part] = parts.get(part, Counts()) + counts
        flows = []
        while sums:  # each makes room for its flow
            flows.append(sums.popitem()[1].flow(self._boot.at_ns))
        return flows, parts

    def _elsewhere(self) -> list[Flow]:
        """What processes in other namespaces send and receive on the interfaces there.

        Packets there that are nobody's are left out: the ledger is that of our interfaces.
        """
        if self._interfaces:
            return []
        for ended in self._counters.find_others():
            self._settled += self._flows_of(ended)
            ended.close()
        flows = [flow for counter in self._counters.others() for flow in self._flows_of(counter)]
        return [*self._settled, *flows]

    def _flows_of(self, counter: PacketCounter) -> list[Flow]:
        elements, now = counter.read()
        flows, _ = self._add_up(counter, self._judge(counter, elements, now), now)
        return [flow for flow in flows if flow.key is not None]

    def _ledger(self, now: Situation, parts: dict[str, Counts], lost: Counts) -> Ledger:
        counted = {
            now.links[index].name: counts
            for index, counts in self._counters.ours.counted(now).items()
            if not self._interfaces or now.links[index].name in self._interfaces
        }
        return balance(counted.keys(), counted.values(), {**parts, "lost": lost}, estimated=False)
