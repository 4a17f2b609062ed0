"""Traffic of captured packets: where the kernel cannot count for us, but packets may be seen."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, monotonic_ns, time_ns
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hostscope.collectors.attribution import counting
from hostscope.collectors.interface_totals import LOOPBACK, InterfaceTotals, addresses_of
from hostscope.errors import Error, Unsupported
from hostscope.model.capture import CaptureRequest
from hostscope.model.interface import Interface
from hostscope.model.socket import Endpoint, SocketOwner, SocketRequest
from hostscope.model.traffic import Counts, Flow, Ledger, Reading, TrafficRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_network import Meter, PacketSource
from hostscope.platforms.socket_index import GONE, KERNEL, Ends, Holder, HostSockets
from hostscope.platforms.tally import Tally
from hostscope.wire.ledger import balance

if TYPE_CHECKING:
    from hostscope.collectors.packet_flows import PacketFlows
    from hostscope.wire.batch import PacketBatch
    from hostscope.wire.flow_records import Sent, WireFlow

FORWARDED, MERGED = "forwarded", "merged"
LARGEST_SEGMENT = 1460
"""Payload of a TCP packet on Ethernet: with more of it on average, offload has merged packets."""
SNAP_BYTES = 2048
"""Enough for the hellos that names are learnt from."""
RING_BYTES = 32 << 20
"""Over all interfaces; it counts as our memory."""
LOOK_S, SHARE = 0.2, 8
"""Sockets are listed at most this often while packets come, and for at most that part of the time."""
DELIVERY_S = 0.1
"""How long a packet may be on its way to us."""
LINK_HEADER_BYTES = 14
TAP = "pktap"
"""An interface that shows the packets of others again."""
WITH_SOCKETS = frozenset({"tcp", "udp", "udplite", "sctp", "dccp", "quic"})
MISSES = "packets as interfaces count them, link headers included; other network namespaces are not seen"
UNLISTED = (
    f"where packets do not say whose they are, processes of sockets that live shorter than {LOOK_S} s may be missed"
)


@contextmanager
def open_capture_meter(host: Host, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
    """Captures and counts in a thread of its own while the block runs.

    Raises:
        UsageError: there is no such interface.
        Denied, Unsupported
    """
    totals = InterfaceTotals(host, request.interfaces)
    capture = CaptureRequest(
        interfaces=request.interfaces, snap_bytes=SNAP_BYTES, ring_bytes=RING_BYTES, owners=True
    )  # fmt: skip
    with host.capture.open(capture, tally) as source, counting(host, tally) as counted:
        try:
            from hostscope.collectors.packet_flows import PacketFlows
        except ImportError as missing:  # NumPy
            raise Unsupported(f"captured packets cannot be decoded: {missing}") from missing
        flows = PacketFlows(request.max_flows, request.names is not False)
        meter = CaptureMeter(host, source, flows, totals, counted)
        tally.note(f"counts {MISSES}" if counted else f"counts {MISSES}; {UNLISTED}")
        host.privileges.settle(meter.method)
        with meter.running():
            yield meter
        for note in meter.notes:
            tally.note(note)


class CaptureMeter:
    """Implements `hostscope.platforms.base_network.Meter`."""

    method = "capture"

    def __init__(
        self, host: Host, source: PacketSource, flows: "PacketFlows", totals: InterfaceTotals, counted: Meter | None
    ) -> None:
        """`counted` knows sockets and processes that have ended, where the kernel counts."""
        self._host, self._source, self._flows, self._totals = host, source, flows, totals
        self._counted = counted
        self._lock, self._looking, self._stop = threading.Lock(), threading.Lock(), threading.Event()
        self._index, self._listed_s, self._pause_s = HostSockets(), 0.0, LOOK_S
        self._cut_ns: int | None = None
        self._first_ns = 0
        self._held: list[PacketBatch] = []
        self._told: dict[int, SocketOwner | None] = {}
        self._failed: BaseException | None = None
        self._began_ns = monotonic_ns()
        self.notes: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Packets are taken while the block runs."""
        began_ns = time_ns()
        self._totals.begin()  # what opened the capture may have taken a while
        self._first_ns = (began_ns + time_ns()) // 2
        self._list_sockets()
        thread = threading.Thread(target=self._run, name="capture-meter")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def read(self) -> Reading:
        """See `Meter.read`. Cost: 15 µs a flow.

        Raises:
            whatever ended the capture.
        """
        if self._failed is not None:
            raise self._failed
        now = self._cut()
        with self._lock:
            wired = [(flow, self._flows.domain_of(flow)) for flow in self._flows.flows()]
            told = self._told = {wire.flow_id: self._told.get(wire.flow_id) for wire, _ in wired}
            apart, evicted = self._flows.apart(), self._flows.evicted()
            self._resume()
        self._list_sockets(at_once=True)
        with self._looking:
            judge = _Judge(self._index, self._source, now, told)
            flows = tuple(flow for wire, domain in wired for flow in judge.flows(wire, domain))
        lost = self._lost(wired)
        merged = self._merged(now, [wire for wire, _ in wired], apart.total_packets + evicted.total_packets)
        parts = _parts(flows, {KERNEL: apart, MERGED: merged, "evicted": evicted, "lost": lost})
        return Reading(time_ns(), monotonic_ns() - self._began_ns, flows, self._ledger(now, parts), lost, evicted)

    def _cut(self) -> dict[str, Interface]:
        """Reads the interfaces' counters, and waits until all packets from before have come; later ones are held back.

        Without it, what is still in the rings would be missing in the ledger.
        """
        with self._lock:
            began_ns = time_ns()
            now = self._totals.read()
            self._cut_ns = (began_ns + time_ns()) // 2
        self._stop.wait(DELIVERY_S)
        return now

    def _resume(self) -> None:
        for batch in self._held:
            self._count(batch)
        self._cut_ns = None
        self._held.clear()

    def _feed(self, batch: "PacketBatch") -> None:
        if batch.at_ns[0] < self._first_ns:
            batch = batch.part(int(batch.at_ns.searchsorted(self._first_ns)), len(batch))
        if not len(batch):
            return
        if self._cut_ns is None:
            self._count(batch)
            return
        count = int(batch.at_ns.searchsorted(self._cut_ns, side="right"))
        self._count(batch.part(0, count))
        if count < len(batch):
            self._held.append(_copied(batch.part(count, len(batch))))

    def _count(self, batch: "PacketBatch") -> None:
        """Feeds the flows, and keeps what packets say themselves of who is at this host's end."""
        flows = self._flows.feed(batch)
        for flow, owner in zip(flows.tolist(), batch.owners or (), strict=False):
            if flow and owner is not None:
                self._told[flow] = owner

    def _run(self) -> None:
        try:
            for batch in self._source.batches(self._stop):
                if not len(batch):
                    continue
                before = len(self._flows)
                with self._lock:
                    self._feed(batch)
                if len(self._flows) > before:
                    self._list_sockets()
        except BaseException as failed:
            self._failed = failed

    def _list_sockets(self, at_once: bool = False) -> None:
        """Lists sockets again unless that was done just now."""
        began = monotonic()
        if not at_once and began - self._listed_s < self._pause_s:
            return
        try:
            listed = list(self._host.sockets.sweep(SocketRequest(tcp_details=False), Tally()))
            used = self._counted.read().flows if self._counted and at_once else ()
            with self._looking:
                for socket in listed:
                    self._index.add_socket(socket)
                for flow in used:
                    self._index.add_flow(flow)
        except Error as failed:
            self.notes.append(f"packets have no processes: {failed.message}")
        self._listed_s = monotonic()
        self._pause_s = max(LOOK_S, (self._listed_s - began) * (SHARE - 1))

    def _lost(self, wired: "list[tuple[WireFlow, tuple[str, str] | None]]") -> Counts:
        """Packets that found no room in a ring; their bytes are estimated from the packets that did."""
        packets = sum(flow.sent.packets + flow.received.packets for flow, _ in wired)
        size = sum(flow.sent.wire_bytes + flow.received.wire_bytes for flow, _ in wired) / packets if packets else 0
        dropped = sum(counts.dropped or 0 for counts in self._source.counts())
        return Counts(0, int(dropped * size), 0, dropped)

    def _merged(self, now: dict[str, Interface], wires: "list[WireFlow]", others: int) -> Counts:
        """Packets that the interfaces counted one by one and receive or send offload showed us as one.

        What each of them adds is its headers: estimated from those of the TCP packets with payload that were seen.
        """
        counted = self._ledger(now, {}).interface_packets
        loops = {place for place, one in enumerate(self._source.interfaces) if self._is_loopback(now, one.name)}
        seen = sum(_packets(wire) * (2 if (wire.interface or 0) in loops else 1) for wire in wires) + others
        dropped = sum(counts.dropped or 0 for counts in self._source.counts())
        return merged_packets(counted - seen - dropped, [wire for wire in wires if wire.interface not in loops])

    def _is_loopback(self, now: dict[str, Interface], name: str) -> bool:
        interface = now.get(name)
        return interface is not None and interface.kind == LOOPBACK

    def _ledger(self, now: dict[str, Interface], parts: dict[str, Counts]) -> Ledger:
        names = {interface.name for interface in self._source.interfaces}
        found = self._totals.counted(now).items()
        counted = {name: counts for name, counts in found if name in names and now[name].kind != TAP}
        return balance(counted.keys(), counted.values(), parts, estimated=False)


def merged_packets(missing: int, wires: "Iterable[WireFlow]") -> Counts:
    """So many packets more than were seen, with the headers of each, which are estimated.

    Only TCP flows that have packets of more than a link carries are merged; without one nothing is.
    """
    large = [
        way
        for wire in wires
        if wire.state is not None
        for way in (wire.sent, wire.received)
        if way.packets and way.payload_bytes > way.packets * LARGEST_SEGMENT
    ]
    packets = sum(way.packets for way in large)
    if missing <= 0 or not packets:
        return Counts()
    headers = sum(way.wire_bytes - way.payload_bytes for way in large)
    return Counts(0, missing * headers // packets, 0, missing)


def _packets(wire: "WireFlow") -> int:
    return wire.sent.packets + wire.received.packets


class _Judge:
    """Whose flows are: by what packets say themselves, else by the sockets that were listed."""

    def __init__(
        self,
        index: HostSockets,
        source: PacketSource,
        now: dict[str, Interface],
        told: Mapping[int, SocketOwner | None],
    ) -> None:
        self._index, self._source, self._interfaces, self._told = index, source, now, told
        self._addresses = addresses_of(now)
        self._net_ns = next((interface.net_ns for interface in now.values()), None)

    def flows(self, wire: "WireFlow", domain: tuple[str, str] | None) -> Iterator[Flow]:
        """One flow, or both ends' flows when both are on this host and the interface counts both."""
        from hostscope.collectors.packet_flows import end_of

        here, there = end_of(wire.initiator), end_of(wire.responder)
        name = self._source.interfaces[wire.interface or 0].name
        interface = self._interfaces.get(name)
        if interface is not None and interface.kind == LOOPBACK:
            header = LINK_HEADER_BYTES  # Linux counts none there
            yield self._flow(wire, here, there, "outbound", _counts(wire.sent, wire.received, header), name, domain)
            yield self._flow(wire, there, here, "inbound", _counts(wire.received, wire.sent, header), name, domain)
        elif self._is_local(there.address) and not self._is_local(here.address):
            yield self._flow(wire, there, here, "inbound", _counts(wire.received, wire.sent), name, domain)
        else:
            yield self._flow(wire, here, there, "outbound", _counts(wire.sent, wire.received), name, domain)

    def _flow(
        self, wire: "WireFlow", local: Endpoint, remote: Endpoint, direction: str, counts: Counts, interface: str,
        domain: tuple[str, str] | None,
    ) -> Flow:  # fmt: skip
        from hostscope.collectors.packet_flows import protocol_of

        protocol = protocol_of(wire)
        ends = ("udp" if protocol == "quic" else protocol, local.address, local.port, *_plain(remote))
        verdict = self._judge(ends, self._told.get(wire.flow_id))
        holder = verdict if isinstance(verdict, Holder) else None
        named = domain if direction == "outbound" else None
        return Flow(
            protocol=protocol,
            local=local,
            remote=remote,
            key=holder.key if holder else None,
            name=holder.name if holder else None,
            unknown=None if holder else str(verdict),
            user=holder.user if holder else None,
            direction=direction if wire.initiator_by == "syn" else None,
            net_ns=self._net_ns,
            interface=interface,
            cookie=holder.cookie if holder else None,
            wire=counts,
            first_at_ns=wire.first_at_ns,
            last_at_ns=wire.last_at_ns,
            closed=wire.state in ("fin", "rst") if wire.state else None,
            domain=named[0] if named else None,
            domain_source=named[1] if named else None,
        )

    def _judge(self, ends: Ends, told: SocketOwner | None) -> Holder | str:
        if not self._is_local(ends[1]):
            return FORWARDED
        found = self._index.index(self._net_ns).find(ends)
        if told is not None and (found is None or found.key is None or not found.key.same(told.key)):
            return Holder(told.key, told.name, None, None, None, ends[1])
        if found is None:
            return GONE if ends[0] in WITH_SOCKETS else KERNEL
        return found.unknown or (found if found.key else GONE)

    def _is_local(self, address: str) -> bool:
        return address in self._addresses or address.startswith("127.") or address == "::1"


def _copied(batch: "PacketBatch") -> "PacketBatch":
    """The same packets in memory of their own: those of a ring last until the next ones are asked for."""
    begin, end = int(batch.offsets.min()), int((batch.offsets + batch.captured).max())
    return replace(batch, data=batch.data[begin:end].copy(), offsets=batch.offsets - begin)


def _plain(end: Endpoint) -> tuple[str, int | None]:
    return end.address, end.port


def _counts(sent: "Sent", received: "Sent", header: int = 0) -> Counts:
    return Counts(
        sent.wire_bytes - sent.packets * header,
        received.wire_bytes - received.packets * header,
        sent.packets,
        received.packets,
    )


def _parts(flows: Iterable[Flow], others: dict[str, Counts]) -> dict[str, Counts]:
    parts = {"attributed": Counts(), **others}
    for flow in flows:
        part = flow.unknown or "attributed"
        parts[part] = parts.get(part, Counts()) + (flow.wire or Counts())
    return parts
