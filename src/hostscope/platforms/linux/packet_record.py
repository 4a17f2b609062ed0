"""What bpf/packets.bpf.c keeps of each pair of ends on an interface: bytes of its map to numbers. Pure."""

import struct
from socket import AF_INET, AF_INET6
from typing import NamedTuple

from hostscope.platforms.linux.payload_record import address_text, protocol_name
from hostscope.platforms.socket_index import Ends

KEY, CARRIED = struct.Struct("=16s16sHHIBBBxHxx"), struct.Struct("=8Q")
LAST_OFFSET = 56
OUT, FRAGMENT, TAGGED = 1, 2, 4
ETHER_TYPES = {0x0806: "arp", 0x8035: "rarp", 0x88CC: "lldp", 0x8847: "mpls", 0x888E: "eapol", 0x0004: "802.2"}
_FAMILIES: dict[int, int] = {4: AF_INET, 6: AF_INET6}
_ECHO = frozenset({"icmp", "icmp6"})


class Packets(NamedTuple):
    """Packets with the same ends, on one interface and in one direction."""

    ends: Ends
    """As this host sees them: sent from the local end, or received by it."""
    ip: bool
    interface: int
    out: bool
    fragment: bool
    """Later fragments, which have no ports."""
    tagged: bool
    """With a VLAN tag."""


class Carried(NamedTuple):
    """How much there was."""

    packets: int
    bytes: int
    """Link headers included, except on the loopback interface."""
    segments: int
    """Packets after segmentation by the device."""
    segmented_bytes: int
    """Headers that this adds."""
    cookie: int
    first_ns: int
    """Since boot."""
    first_tick: int
    last_tick: int


def parse_key(raw: bytes) -> Packets:
    """Which packets an element counts."""
    source, destination, source_port, destination_port, interface, family, number, flags, ether_type = KEY.unpack(raw)
    out = bool(flags & OUT)
    if family not in _FAMILIES:
        name = ETHER_TYPES.get(ether_type) or f"0x{ether_type:04x}"
        return Packets((name, "", None, "", None), False, interface, out, False, bool(flags & TAGGED))
    protocol = protocol_name(number)
    first = (address_text(source, _FAMILIES[family]), source_port or None)
    second = (address_text(destination, _FAMILIES[family]), destination_port or None)
    here, there = (first, second) if out else (second, first)
    return Packets((protocol, *here, *there), True, interface, out, bool(flags & FRAGMENT), bool(flags & TAGGED))


def parse_carried(raw: bytes) -> Carried:
    """How much an element counted."""
    return Carried(*CARRIED.unpack(raw))


def without_identifier(ends: Ends) -> Ends:
    """Ends of ICMP without the echo's identifier, which is no port."""
    protocol, here, _, there, _ = ends
    return (protocol, here, None, there, None) if protocol in _ECHO else ends
