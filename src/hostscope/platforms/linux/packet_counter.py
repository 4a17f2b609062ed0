"""Packets counted by the kernel in one network namespace: a filter on a packet socket that lets nothing through."""

import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hostscope.model.traffic import Counts
from hostscope.platforms.linux.count_table import CountTable
from hostscope.platforms.linux.image import Image
from hostscope.platforms.linux.interface_counts import carried
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.net_namespaces import NetNamespace, inside
from hostscope.platforms.linux.packet_record import LAST_OFFSET, Carried, Packets, parse_carried, parse_key
from hostscope.platforms.linux.payload_meter import LOST
from hostscope.platforms.linux.rtnetlink import Link, RouteSocket

ETH_P_ALL, SO_ATTACH_BPF = 3, 50
LINK_HEADER_BYTES = 14
MOST_PARSED = 32_768
"""Keys of so many elements are kept in parsed form for the next time: half a KiB each."""
_WITHOUT_HEADER_IN = frozenset({"bridge", "vlan"})
"""Devices that count what they receive after the link header was taken off; what they send, before it is put on."""


class Element(NamedTuple):
    """Packets with the same ends, and how much they were: as the kernel wrote it, which takes a fifth of the memory."""

    packets: Packets
    raw: bytes

    @property
    def carried(self) -> Carried:
        """How much they were. Cost: 0.7 µs."""
        return parse_carried(self.raw)


class Situation(NamedTuple):
    """Interfaces and addresses of a namespace now."""

    links: dict[int, Link]
    addresses: frozenset[str]


class PacketCounter:
    """Counts every packet of every interface of a namespace while it is open."""

    def __init__(self, image: Image, namespace: NetNamespace, entries: int) -> None:
        """Begins to count.

        The packet socket keeps the namespace alive while it is open.

        Raises:
            OSError: the namespace cannot be entered, or packet sockets are denied.
            HostError: as `Programs.load`.
        """
        self.net_ns = namespace.inode
        self._programs = Programs(image, entries={"packets": entries})
        self._parsed: dict[bytes, Packets] = {}
        self._evicted = Counts()
        try:
            program = self._programs.load("count")
            self._table = CountTable(self._programs.map("packets"), LAST_OFFSET, self._drop)
            self._route = inside(namespace, RouteSocket)
            self._tap = inside(namespace, lambda: _tap(program))
        except BaseException:
            self._programs.close()
            raise
        self.before = self.situation()

    def read(self) -> tuple[list[Element], Situation]:
        """Everything that was counted, and the interfaces at that moment. Cost: 2 µs an element, 8 µs a new one."""
        raw = self._table.read()
        now = self.situation()
        known = self._parsed
        elements = [Element(known.get(key) or parse_key(key), value) for key, value in raw.items()]
        keep = len(raw) <= MOST_PARSED
        self._parsed = dict(zip(raw, (element.packets for element in elements), strict=True)) if keep else {}
        return elements, now

    def situation(self) -> Situation:
        """Interfaces with their own counters, and addresses."""
        links = {link.index: link for link in self._route.links()}
        found = self._route.addresses().values()
        return Situation(links, frozenset(one.address for addresses in found for one in addresses))

    def counted(self, now: Situation) -> dict[int, Counts]:
        """What each interface says that it carried."""
        return carried(self.before.links, now.links)

    def lost(self) -> Counts:
        """What found no room in the table, and what was dropped from it."""
        return Counts(*(self._programs.variable(name).value for name in LOST)) + self._evicted

    def close(self) -> None:
        """Ends it, and lets go of the namespace."""
        self._tap.close()
        self._route.close()
        self._programs.close()

    def _drop(self, key: bytes, value: bytes) -> None:
        packets, counted = parse_key(key), parse_carried(value)
        self._evicted += as_counts(packets.out, counted.bytes, counted.packets)


def as_counts(out: bool, count: int, packets: int) -> Counts:
    """Bytes and packets of one direction."""
    return Counts(count, 0, packets, 0) if out else Counts(0, count, 0, packets)


def in_units_of(
    link: Link | None, packets: Packets, carried: Carried, segmented: bool, headless: bool = False
) -> Counts:
    """What the interface itself counts for these packets.

    Source: br_pass_frame_up and vlan_skb_recv count without link header, all others with it (loopback_xmit without it
    too, which the program knows).

    Args:
        segmented: it counts what it makes of large packets (devices that segment by themselves).
        headless: it counts what it receives without link headers, though most of its kind do not.
    """
    count, number = carried.bytes, carried.packets
    if segmented:
        count, number = count + carried.segmented_bytes, carried.segments
    if (headless or (link and link.kind in _WITHOUT_HEADER_IN)) and not packets.out:
        count -= LINK_HEADER_BYTES * number
    return as_counts(packets.out, count, number)


def segmenting(elements: Iterable[Element], counted: Mapping[int, Counts]) -> set[int]:
    """The interfaces that count segments: their own packet counter is nearer to those than to packets."""
    packets, segments = Counter[int](), Counter[int]()
    for element in elements:
        carried = element.carried
        packets[element.packets.interface] += carried.packets
        segments[element.packets.interface] += carried.segments
    return {
        index
        for index, counts in counted.items()
        if segments[index] > packets[index]
        and abs(counts.total_packets - segments[index]) < abs(counts.total_packets - packets[index])
    }


def receiving_headless(
    elements: Iterable[Element], counted: Mapping[int, Counts], links: Mapping[int, Link], segmented: set[int]
) -> set[int]:
    """The veth devices that count what they receive without link headers: their own counter is nearer to that.

    With receive offload or an XDP program they do, otherwise not. Source: veth_xdp_rcv, veth_stats_rx.
    """
    received, packets = Counter[int](), Counter[int]()
    for index, of in ((element.packets.interface, element) for element in elements if not element.packets.out):
        many = index in segmented
        received[index] += of.carried.bytes + (of.carried.segmented_bytes if many else 0)
        packets[index] += of.carried.segments if many else of.carried.packets
    return {
        index
        for index, link in links.items()
        if link.kind == "veth" and index in counted
        and counted[index].received_bytes <= received[index] - LINK_HEADER_BYTES * packets[index] // 2
        and packets[index]
    }  # fmt: skip


def _tap(program: int) -> socket.socket:
    """A packet socket of all interfaces."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL))
    try:
        tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, program)
    except OSError:
        tap.close()
        raise
    return tap
