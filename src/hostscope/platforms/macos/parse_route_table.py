"""The routing table (sysctl NET_RT_DUMP2), parsed. Pure and bounded.

Source: net/route.h. Walked as the list of interfaces is: messages by their own lengths, addresses by the mask.
"""

import struct
from collections.abc import Iterator

from hostscope.model.interface import Route
from hostscope.platforms.macos.parse_routes import addresses_behind, messages, prefix_bits, text_of

RTM_GET2 = 0x14
MOST_ROUTES = 4096
"""As on Linux: a router may have a million of them."""
_HEAD = struct.Struct("<HBBHxxii")
"""msglen, version, type, index, flags, addrs of struct rt_msghdr2."""
_HEAD_BYTES = 92
_DESTINATION, _GATEWAY, _NETMASK = 0, 1, 2
"""Places in the mask (RTAX_*)."""
_UP, _HOST = 0x1, 0x4
_NOT_CONFIGURED = 0x8 | 0x400 | 0x1000 | 0x20000 | 0x200000 | 0x400000 | 0x800000
"""Reject, neighbours (LLINFO), black holes, copies for single peers (WASCLONED), our own addresses (LOCAL), broadcast
and multicast: Linux keeps none of these in its main table."""
_AF_INET, _AF_INET6 = 2, 30
_WIDTH = {_AF_INET: 32, _AF_INET6: 128}
_ANYWHERE = {_AF_INET: "0.0.0.0", _AF_INET6: "::"}


def parse_route_table(raw: bytes) -> dict[int, list[Route]] | None:
    """Routes by the index of their interface, in the kernel's order; None when there are more than `MOST_ROUTES`."""
    found: dict[int, list[Route]] = {}
    for number, (index, route) in enumerate(_routes(raw)):
        if number == MOST_ROUTES:
            return None
        found.setdefault(index, []).append(route)
    return found


def _routes(raw: bytes) -> Iterator[tuple[int, Route]]:
    for kind, message in messages(raw):
        if kind == RTM_GET2 and len(message) >= _HEAD_BYTES:
            _, _, _, index, flags, mask = _HEAD.unpack_from(message)
            if flags & _UP and not flags & _NOT_CONFIGURED:
                route = _route(addresses_behind(message, _HEAD_BYTES, mask), flags)
                if route is not None:
                    yield index, route


def _route(found: dict[int, bytes], flags: int) -> Route | None:
    """A gateway that is a link (AF_LINK) means that what is there is reached directly."""
    destination, gateway = found.get(_DESTINATION, b""), found.get(_GATEWAY, b"")
    family = destination[1] if len(destination) > 1 else 0
    if family not in _WIDTH:
        return None
    address = text_of(destination, family) or _ANYWHERE[family]
    prefix = _WIDTH[family] if flags & _HOST else prefix_bits(found.get(_NETMASK, b""), family)
    return Route(f"{address}/{prefix}", text_of(gateway, gateway[1]) if len(gateway) > 1 else None)
