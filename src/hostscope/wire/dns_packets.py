"""DNS messages in batches of packets: datagrams, and connections put together. Bounded."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

import numpy as np

from hostscope.model.socket import Endpoint
from hostscope.wire.batch import U8, PacketBatch
from hostscope.wire.decode import decode
from hostscope.wire.decoded import Decoded, Fragment
from hostscope.wire.dns import DnsPacket, parse_message
from hostscope.wire.fragments import FragmentTable
from hostscope.wire.plain import TCP, UDP
from hostscope.wire.stream import Stream

MDNS_PORT, LLMNR_PORT = 5353, 5355
MAX_CONNECTIONS = 1024
"""TCP connections that are put together at the same time; of more the oldest are dropped."""
MAX_STREAM_BYTES = 1 << 17
"""Of one direction that were not read yet: a message has 64 KiB at most."""
_FIN, _SYN, _RST = 1, 2, 4

_Way = tuple[Endpoint, Endpoint]


def _none(place: int) -> tuple[str, ...]:
    return ()


class _Direction:
    """One direction of a TCP connection, from its first byte or from where it was met."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.stream = Stream(MAX_STREAM_BYTES)

    def messages(self) -> Iterator[bytes]:
        """Each message has its length before it (RFC 1035 4.2.2)."""
        while len(ready := self.stream.ready) >= 2:
            size = int.from_bytes(ready[:2], "big")
            if len(ready) < 2 + size:
                return
            yield self.stream.take(2 + size)[2:]


class DnsPackets:
    """Finds messages in batches, in their order."""

    def __init__(self, ports: tuple[int, ...] = (53,), multicast: bool = True) -> None:
        self._ports = np.array([*ports, *((MDNS_PORT, LLMNR_PORT) if multicast else ())], np.uint16)
        self._fragments = FragmentTable()
        self._connections: OrderedDict[_Way, _Direction] = OrderedDict()
        self._comments: tuple[str, ...] = ()
        self.unreadable = 0
        """Packets at these ports that hold no DNS message, or only a part of one."""
        self.dropped = 0
        """TCP connections that could not be put together: too many, too long, or pieces missing."""

    def feed(self, batch: PacketBatch, comments: Callable[[int], tuple[str, ...]] = _none) -> Iterator[DnsPacket]:
        """The messages of a batch. `comments` tells what stands beside one of its packets."""
        decoded = decode(batch, self._fragments)
        wanted = np.isin(decoded.source_port, self._ports) | np.isin(decoded.destination_port, self._ports)
        wanted &= np.isin(decoded.protocol, (TCP, UDP)) & (decoded.fragment != Fragment.LATER)
        for index in np.flatnonzero(wanted).tolist():
            way = _endpoints(decoded, index)
            start, size = int(decoded.payload_offset[index]), int(decoded.payload_captured[index])
            payload = batch.data[start : start + size].tobytes()
            at_ns, self._comments = int(batch.at_ns[index]), comments(index)
            if decoded.protocol[index] == UDP:
                yield from self._message(at_ns, way, _transport(way), payload)
            else:
                yield from self._segment(at_ns, way, decoded, index, batch.data, payload)

    def _message(self, at_ns: int, way: _Way, transport: str, payload: bytes) -> Iterator[DnsPacket]:
        message = parse_message(payload)
        if message is None or (message.problem is not None and not message.questions):
            self.unreadable += 1
        if message is not None:
            yield DnsPacket(at_ns, *way, transport, message, self._comments)

    def _segment(
        self, at_ns: int, way: _Way, decoded: Decoded, index: int, data: U8, payload: bytes
    ) -> Iterator[DnsPacket]:
        flags, header = int(decoded.tcp_flags[index]), int(decoded.transport_offset[index])
        sequence = int.from_bytes(data[header + 4 : header + 8].tobytes(), "big")
        if flags & (_RST | _FIN) and not payload:
            self._connections.pop(way, None)
        if flags & _SYN:
            self._begin(way, sequence + 1)
        if not payload:
            return
        direction = self._connections.get(way) or self._begin(way, sequence)
        if not direction.stream.add((sequence - direction.first) & 0xFFFFFFFF, payload):
            self.dropped += 1
            del self._connections[way]
            return
        for raw in direction.messages():
            yield from self._message(at_ns, way, "tcp", raw)

    def _begin(self, way: _Way, first: int) -> _Direction:
        direction = self._connections[way] = _Direction(first)
        if len(self._connections) > MAX_CONNECTIONS:
            self._connections.popitem(last=False)
            self.dropped += 1
        return direction


def _transport(way: _Way) -> str:
    ports = (way[0].port, way[1].port)
    return "mdns" if MDNS_PORT in ports else "llmnr" if LLMNR_PORT in ports else "udp"


def _endpoints(decoded: Decoded, index: int) -> _Way:
    four = decoded.family[index] == 4
    source = _address(four, int(decoded.source_high[index]), int(decoded.source_low[index]))
    destination = _address(four, int(decoded.destination_high[index]), int(decoded.destination_low[index]))
    return (
        Endpoint(source, int(decoded.source_port[index])),
        Endpoint(destination, int(decoded.destination_port[index])),
    )


def _address(four: bool, high: int, low: int) -> str:
    if four:
        return str(IPv4Address(low))
    address = IPv6Address(high << 64 | low)
    return str(address.ipv4_mapped or address)
