"""The routing table's list of interfaces (sysctl NET_RT_IFLIST2), parsed. Pure and bounded.

Source: net/if.h, net/if_var.h, net/route.h. Messages are walked by their own lengths; types that are not known are
skipped. Addresses stand behind a message in the order of the bits of its mask, each at a multiple of four bytes.
"""

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from hostscope.model.interface import InterfaceAddress, InterfaceCounters
from hostscope.model.text import decode

RTM_NEWADDR, RTM_IFINFO2 = 0xC, 0x12
_HEAD = struct.Struct("<HBBiiH")
"""msglen, version, type, addrs, flags, index: both kinds of messages begin so."""
_LINK_BYTES, _ADDRESS_BYTES = 160, 20
"""Of struct if_msghdr2 and struct ifa_msghdr."""
_DATA_AT = 32
_DATA = struct.Struct("<8B2I12Q")
"""struct if_data64 up to ifi_noproto: type, …, mtu, metric, baudrate, then the counters."""
_DROPS_AT = 24
_TOTALS = struct.Struct("<16s36x64x2Q48x")
"""struct ifmibdata: its name, and of its struct if_data64 the bytes in and out."""
_AF_INET, _AF_LINK, _AF_INET6 = 2, 18, 30
_NETMASK, _ADDRESS, _BROADCAST = 2, 5, 7
"""Places in the mask (RTAX_NETMASK, RTAX_IFA, RTAX_BRD)."""
_PLACES = 8
_POINT_TO_POINT = 0x10

FLAGS = {
    0x1: "up", 0x2: "broadcast", 0x4: "debug", 0x8: "loopback", 0x10: "point-to-point", 0x40: "running", 0x80: "no-arp",
    0x100: "promiscuous", 0x200: "all-multicast", 0x400: "transmitting", 0x800: "simplex", 0x8000: "multicast",
}  # fmt: skip
"""IFF_* of net/if.h."""
KINDS = {
    0x6: "ethernet", 0x17: "ppp", 0x18: "loopback", 0x1C: "slip", 0x37: "gif", 0x39: "stf", 0x40: "6lowpan",
    0x87: "vlan", 0x88: "bond", 0x90: "firewire", 0xD1: "bridge", 0xF4: "enc", 0xF5: "pflog", 0xFE: "pktap",
    0xFF: "cellular",
}  # fmt: skip
"""IFT_* of net/if_types.h."""
_OTHER = 0x1
_TUNNELS = ("utun", "ipsec", "tun", "tap")
"""Of type IFT_OTHER; the kernel gives these names itself."""


class ListedLink(NamedTuple):
    """One interface as the kernel lists it."""

    name: str
    number: int
    """The kernel's index of it."""
    kind: str | None
    flags: int
    mac: str | None
    mtu_bytes: int
    speed_bits_s: int | None
    counters: InterfaceCounters
    addresses: tuple[InterfaceAddress, ...]


def parse_links(raw: bytes) -> tuple[ListedLink, ...]:
    """The interfaces, each with its addresses; what is cut off or malformed is left out."""
    links: dict[int, ListedLink] = {}
    for kind, message in messages(raw):
        if kind == RTM_IFINFO2 and (link := _link(message)):
            links[link.number] = link
        elif kind == RTM_NEWADDR and (found := _address(message, links)):
            index, address = found
            links[index] = links[index]._replace(addresses=(*links[index].addresses, address))
    return tuple(links.values())


def parse_totals(raw: bytes) -> dict[str, tuple[int, int]]:
    """Bytes received and sent by the name of each interface, of a list of struct ifmibdata (net/if_mib.h)."""
    found = {}
    for name, in_, out in _TOTALS.iter_unpack(raw[: len(raw) // _TOTALS.size * _TOTALS.size]):
        found[decode(name.split(b"\0", 1)[0])] = (in_, out)
    return found


def flag_names(flags: int) -> tuple[str, ...]:
    """IFF_* by name."""
    return tuple(name for bit, name in FLAGS.items() if flags & bit)


def messages(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and bytes of each message, up to the first whose length cannot be."""
    at = 0
    while at + 4 <= len(raw):
        size, _, kind = struct.unpack_from("<HBB", raw, at)
        if size < 4 or at + size > len(raw):
            return
        yield kind, raw[at : at + size]
        at += size


def _link(message: bytes) -> ListedLink | None:
    if len(message) < _LINK_BYTES:
        return None
    _, _, _, mask, flags, index = _HEAD.unpack_from(message)
    kind, *rest = _DATA.unpack_from(message, _DATA_AT)
    mtu, _, speed, packets_in, errors_in, packets_out, errors_out, collisions, in_, out, multicast, _, drops, _ = rest[
        7:
    ]
    (sent_drops,) = struct.unpack_from("<i", message, _DROPS_AT)
    address = addresses_behind(message, _LINK_BYTES, mask).get(4)
    name, mac = _link_address(address or b"")
    if not name:
        return None
    counters = InterfaceCounters(
        in_, out, packets_in, packets_out, errors_in, errors_out, drops, max(0, sent_drops), multicast, collisions
    )
    return ListedLink(name, index, kind_of(kind, name), flags & 0xFFFF_FFFF, mac, mtu, speed or None, counters, ())


def kind_of(number: int, name: str) -> str | None:
    """What IFT_* calls an interface; a tunnel by the name that the kernel gave it."""
    if number == _OTHER:
        return "tunnel" if name.rstrip("0123456789") in _TUNNELS else None
    return KINDS.get(number, str(number))


def _link_address(raw: bytes) -> tuple[str, str | None]:
    """Name and hardware address. Source: net/if_dl.h."""
    if len(raw) < 8 or raw[1] != _AF_LINK:
        return "", None
    names, size = raw[5], raw[6]
    name, mac = raw[8 : 8 + names], raw[8 + names : 8 + names + size]
    return decode(name), ":".join(f"{byte:02x}" for byte in mac) if len(mac) == size and size else None


def _address(message: bytes, links: dict[int, ListedLink]) -> tuple[int, InterfaceAddress] | None:
    if len(message) < _ADDRESS_BYTES:
        return None
    _, _, _, mask, _, index = _HEAD.unpack_from(message)
    found = addresses_behind(message, _ADDRESS_BYTES, mask)
    link, raw = links.get(index), found.get(_ADDRESS)
    if link is None or raw is None or len(raw) < 8:
        return None
    other = text_of(found.get(_BROADCAST, b""), raw[1])
    text = text_of(raw, raw[1])
    if text is None:
        return None
    prefix = prefix_bits(found.get(_NETMASK, b""), raw[1])
    peer = other if link.flags & _POINT_TO_POINT else None
    scope = "link" if text.startswith(("fe80:", "169.254.")) else "host" if link.flags & 0x8 else "global"
    family = "inet" if raw[1] == _AF_INET else "inet6"
    return index, InterfaceAddress(family, text, prefix, scope, peer, None if peer else other)


def addresses_behind(message: bytes, at: int, mask: int) -> dict[int, bytes]:
    """The addresses behind a message by their place in the mask. One of length 0 takes four bytes."""
    found: dict[int, bytes] = {}
    for place in range(_PLACES):
        if not mask & 1 << place:
            continue
        if at >= len(message):
            break
        size = message[at]
        found[place] = message[at : at + size]
        at += max(4, (size + 3) & ~3)
    return found


def text_of(raw: bytes, family: int) -> str | None:
    """An address. The kernel keeps a link-local one's interface in its second word, which is taken out."""
    if family == _AF_INET and len(raw) >= 8:
        return str(IPv4Address(raw[4:8]))
    if family == _AF_INET6 and len(raw) >= 24:
        packed = raw[8:24]
        if packed[:2] in (b"\xfe\x80", b"\xff\x02"):
            packed = packed[:2] + b"\0\0" + packed[4:]
        return str(IPv6Address(packed))
    return None


def prefix_bits(raw: bytes, family: int) -> int:
    """Ones of a network mask, whose zeros at the end the kernel leaves out."""
    start, most = (4, 4) if family == _AF_INET else (8, 16)
    return sum(byte.bit_count() for byte in raw[start : start + most])
