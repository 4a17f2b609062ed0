"""Packets to flows with the names of their remote ends, for captures and for capture files. Brings NumPy along."""

from collections.abc import Iterator

import numpy as np

from hostscope.model.dns import Name
from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts
from hostscope.wire.batch import I64, PacketBatch
from hostscope.wire.decode import decode
from hostscope.wire.decoded import Decoded, Problem
from hostscope.wire.dns import parse_message
from hostscope.wire.flow_keys import Scope
from hostscope.wire.flow_records import WireFlow, records
from hostscope.wire.flows import FlowTable, Update
from hostscope.wire.fragments import FragmentTable
from hostscope.wire.hello import Hellos
from hostscope.wire.names import NameTable
from hostscope.wire.plain import TCP, UDP

DNS_PORT = 53
DNS_PORTS = frozenset({DNS_PORT, 5353, 5355})
SEQUENCE_AT = 4
"""In TCP's header."""
QUIC = "quic"
_KNOWN = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    47: "gre",
    50: "esp",
    58: "icmp6",
    132: "sctp",
    136: "udplite",
}


class PacketFlows:
    """A bounded table of flows that is fed with batches."""

    def __init__(self, max_flows: int, names: bool = True) -> None:
        self._table = FlowTable(capacity=max_flows, scope=Scope(vlan=False, tunnel=True, interface=True))
        self._fragments = FragmentTable()
        self._names = NameTable() if names else None
        self._hellos = Hellos()

    def feed(self, batch: PacketBatch) -> I64:
        """Counts the packets of a batch, and looks into the first ones of each flow for names.

        Returns:
            The number of each packet's flow, 0 for none.
        """
        decoded = decode(batch, self._fragments)
        update = self._table.update(batch, decoded)
        if self._names is not None:
            self._learn(self._names, batch, decoded, update)
        return update.ids

    def __len__(self) -> int:
        return len(self._table)

    def flows(self) -> Iterator[WireFlow]:
        """The flows in order of their first packets."""
        return records(self._table)

    def apart(self) -> Counts:
        """What belongs to no flow: packets that are not IP, and those that could not be decoded."""
        parts = self._table.apart.values()
        return Counts(0, sum(part.wire_bytes for part in parts), 0, sum(part.packets for part in parts))

    def malformed(self) -> int:
        """Packets that were not understood."""
        return sum(part.packets for problem, part in self._table.apart.items() if problem != Problem.NOT_IP)

    def evicted(self) -> Counts:
        """What was dropped from the table; directions are not kept."""
        return Counts(0, self._table.evicted.wire_bytes, 0, self._table.evicted.packets)

    def domain_of(self, flow: WireFlow) -> tuple[str, str] | None:
        """What the flow itself, or a DNS answer before it, called its responder."""
        if flow.domain and flow.domain_source:
            return flow.domain, flow.domain_source
        named = self._names.name_of(flow.responder.address, flow.last_at_ns) if self._names else None
        return (named.domain, named.source) if named else None

    def _learn(self, names: NameTable, batch: PacketBatch, decoded: Decoded, update: Update) -> None:
        kinds = decoded.protocol[update.look]
        for place in np.flatnonzero(np.isin(kinds, (TCP, UDP))).tolist():
            packet, row = int(update.look[place]), int(update.look_rows[place])
            start, size = int(decoded.payload_offset[packet]), int(decoded.payload_captured[packet])
            payload = batch.data[start : start + size].tobytes()
            udp = int(kinds[place]) == UDP
            if udp and int(decoded.source_port[packet]) == DNS_PORT:
                message = parse_message(payload)
                if message is not None:
                    names.learn_dns(message, int(batch.at_ns[packet]))
            elif _may_begin(payload, udp) or self._hellos:
                flow = int(update.ids[packet])
                named = self._hear(flow, batch, decoded, packet, payload)
                if named:
                    self._table.name(row, flow, named.domain, named.source)

    def _hear(self, flow: int, batch: PacketBatch, decoded: Decoded, packet: int, payload: bytes) -> Name | None:
        """What a client asked for, with the packet that makes it known; each way of a flow by itself."""
        way = flow, int(decoded.source_port[packet])
        if int(decoded.destination_port[packet]) in DNS_PORTS:
            return None
        if int(decoded.protocol[packet]) == UDP:
            return self._hellos.feed(way, QUIC, payload)
        at = int(decoded.transport_offset[packet]) + SEQUENCE_AT
        return self._hellos.feed(way, "tcp", payload, int.from_bytes(batch.data[at : at + 4].tobytes(), "big"))


def protocol_of(flow: WireFlow) -> str:
    """``tcp``, or ``quic`` where its hello was seen."""
    return QUIC if flow.domain_source == QUIC else _KNOWN.get(flow.protocol) or str(flow.protocol)


def end_of(end: Endpoint) -> Endpoint:
    """An end with IPv4-mapped addresses as plain IPv4."""
    plain = end.address.removeprefix("::ffff:")
    return Endpoint(plain, end.port) if plain != end.address and "." in plain else end


def _may_begin(payload: bytes, udp: bool) -> bool:
    """Whether it may begin a hello: a QUIC long header, a TLS handshake, or letters as HTTP begins with."""
    first = payload[0] if payload else 0
    return first & 0xC0 == 0xC0 if udp else first == 0x16 or 0x41 <= first <= 0x5A
