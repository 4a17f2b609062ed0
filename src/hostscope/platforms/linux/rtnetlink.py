"""Links and addresses, as rtnetlink(7) tells them: parsers of its messages, and the socket they come from.

The parsers are pure and bounded: whatever the bytes say, no read leaves them, and a message that contradicts itself
ends the walk.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from msgspec import Struct

from hostscope.errors import NativeError, Unavailable
from hostscope.model.interface import InterfaceAddress, InterfaceCounters, Route
from hostscope.model.text import decode

NETLINK_ROUTE = 0
NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, RTM_NEWNSID, RTM_GETNSID = 16, 18, 20, 22, 88, 90
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 1, 0x300, 0x10
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=8BI")
_NEXT_HOP = struct.Struct("=HBBi")
_COUNTERS = struct.Struct("=10Q")
_TYPE_MASK = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
_RECEIVE_BYTES = 1 << 18
"""The kernel makes dump messages as large as the buffer of the last receive, up to 32 KiB."""
_TRIES = 5

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_OPERSTATE, IFLA_LINKINFO = 1, 3, 4, 5, 10, 16, 18
IFLA_STATS64, IFLA_PROMISCUITY, IFLA_LINK_NETNSID, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 23, 30, 37, 52, 53
INFO_KIND, INFO_DATA, VLAN_ID = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST = 1, 2, 3, 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH, RTA_TABLE, RTA_VIA = 1, 4, 5, 6, 9, 15, 18
RT_TABLE_MAIN, RTN_UNICAST, RTM_F_CLONED = 254, 1, 0x200
MOST_ROUTES = 4096
"""A router may have a million of them."""
NETNSA_NSID, NETNSA_FD = 1, 3

OPERATIONAL = {1: "not-present", 2: "down", 3: "lower-layer-down", 4: "testing", 5: "dormant", 6: "up", 0: "unknown"}
"""RFC 2863, as in linux/if.h."""
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host"}
FAMILIES: dict[int, str] = {socket.AF_INET: "inet", socket.AF_INET6: "inet6"}
_ADDRESS_BYTES: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}


class Message(NamedTuple):
    """One netlink message."""

    type: int
    flags: int
    sequence: int
    body: bytes


class Link(Struct, frozen=True):
    """What the kernel says of one link; numbers as it has them."""

    index: int
    name: str
    hardware: int
    """ARPHRD_*."""
    flags: int
    """IFF_*."""
    kind: str | None = None
    """Of virtual devices, as in ``ip link add type``."""
    state: str | None = None
    mac: str | None = None
    mtu: int | None = None
    controller: int | None = None
    lower: int | None = None
    """Index of what it is stacked on or of its other end, in the namespace `lower_ns`."""
    lower_ns: int | None = None
    """The number that this namespace knows the other one by; None for its own."""
    vlan: int | None = None
    promiscuous: int = 0
    """How many asked to see frames for others."""
    counters: InterfaceCounters | None = None
    aliases: tuple[str, ...] = ()


def parse_messages(raw: bytes) -> Iterator[Message]:
    """The messages of one datagram, up to the first that does not fit into it."""
    at = 0
    while at + _HEADER.size <= len(raw):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(raw, at)
        if length < _HEADER.size or at + length > len(raw):
            return
        yield Message(kind, flags, sequence, raw[at + _HEADER.size : at + length])
        at += (length + 3) & ~3


def parse_attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Types and values, up to the first attribute that does not fit."""
    at = 0
    while at + _ATTRIBUTE.size <= len(raw):
        length, kind = _ATTRIBUTE.unpack_from(raw, at)
        if length < _ATTRIBUTE.size or at + length > len(raw):
            return
        yield kind & _TYPE_MASK, raw[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def parse_link(body: bytes) -> Link | None:
    """A link of an RTM_NEWLINK message; None when the message is too short to name one."""
    if len(body) < _LINK.size:
        return None
    _, hardware, index, flags, _ = _LINK.unpack_from(body)
    found = dict(parse_attributes(body[_LINK.size :]))
    info = dict(parse_attributes(found.get(IFLA_LINKINFO, b"")))
    kind = _text(info.get(INFO_KIND))
    return Link(
        index=index,
        name=_text(found.get(IFLA_IFNAME)) or "",
        hardware=hardware,
        flags=flags,
        kind=kind,
        state=OPERATIONAL.get(found[IFLA_OPERSTATE][0]) if found.get(IFLA_OPERSTATE) else None,
        mac=_mac(found.get(IFLA_ADDRESS)),
        mtu=_number(found.get(IFLA_MTU)),
        controller=_number(found.get(IFLA_MASTER)),
        lower=_number(found.get(IFLA_LINK)) or None,
        lower_ns=_number(found.get(IFLA_LINK_NETNSID)),
        vlan=_vlan(kind, info),
        promiscuous=_number(found.get(IFLA_PROMISCUITY)) or 0,
        counters=_counters(found.get(IFLA_STATS64)),
        aliases=_aliases(found.get(IFLA_PROP_LIST, b"")),
    )


def parse_address(body: bytes) -> tuple[int, InterfaceAddress] | None:
    """The interface's index and one of its addresses; None for a family without IP addresses, or nonsense."""
    if len(body) < _ADDRESS.size:
        return None
    family, prefix, _, scope, index = _ADDRESS.unpack_from(body)
    found = dict(parse_attributes(body[_ADDRESS.size :]))
    # For IPv4 and point-to-point links LOCAL is ours and ADDRESS the other end's; elsewhere only ADDRESS is there.
    given = _ip(family, found.get(IFA_ADDRESS))
    ours = _ip(family, found.get(IFA_LOCAL)) or given
    if ours is None:
        return None
    return index, InterfaceAddress(
        family=FAMILIES[family],
        address=ours,
        prefix=prefix,
        scope=SCOPES.get(scope, str(scope)),
        peer=given if given != ours else None,
        broadcast=_ip(family, found.get(IFA_BROADCAST)),
        label=_text(found.get(IFA_LABEL)),
    )


def parse_route(body: bytes) -> list[tuple[int, Route]]:
    """The interfaces of a route, each with it; none when it is not one of the main table, or nonsense."""
    if len(body) < _ROUTE.size:
        return []
    family, prefix, _, _, table, _, _, kind, flags = _ROUTE.unpack_from(body)
    found = dict(parse_attributes(body[_ROUTE.size :]))
    table = _number(found.get(RTA_TABLE)) or table
    if family not in FAMILIES or (table, kind) != (RT_TABLE_MAIN, RTN_UNICAST) or flags & RTM_F_CLONED:
        return []
    anywhere = "0.0.0.0" if family == socket.AF_INET else "::"
    destination = f"{_ip(family, found.get(RTA_DST)) or anywhere}/{prefix}"
    metric = _number(found.get(RTA_PRIORITY))
    hops = [(_number(found.get(RTA_OIF)), found), *_next_hops(found.get(RTA_MULTIPATH, b""))]
    return [(index, Route(destination, _gateway(family, hop), metric)) for index, hop in hops if index]


def _next_hops(raw: bytes) -> Iterator[tuple[int, dict[int, bytes]]]:
    """struct rtnexthop with its attributes, up to the first that does not fit."""
    at = 0
    while at + _NEXT_HOP.size <= len(raw):
        length, _, _, index = _NEXT_HOP.unpack_from(raw, at)
        if length < _NEXT_HOP.size or at + length > len(raw):
            return
        yield index, dict(parse_attributes(raw[at + _NEXT_HOP.size : at + length]))
        at += (length + 3) & ~3


def _gateway(family: int, hop: dict[int, bytes]) -> str | None:
    """An IPv4 route may lead over an IPv6 gateway (RTA_VIA, Linux 5.2), which stands behind its family."""
    via = hop.get(RTA_VIA, b"")
    other = _ip(int.from_bytes(via[:2], sys.byteorder), via[2:]) if len(via) > 2 else None
    return _ip(family, hop.get(RTA_GATEWAY)) or other


def parse_namespace_number(body: bytes) -> int | None:
    """The number in an RTM_NEWNSID message; None where the namespace has none (NETNSA_NSID_NOT_ASSIGNED)."""
    number = _number(dict(parse_attributes(body[4:])).get(NETNSA_NSID))  # after struct rtgenmsg, padded
    return None if number is None or number < 0 else number


def _text(raw: bytes | None) -> str | None:
    return decode(raw.split(b"\0", 1)[0]) if raw else None


def _number(raw: bytes | None) -> int | None:
    return struct.unpack("=i", raw)[0] if raw is not None and len(raw) == 4 else None


def _mac(raw: bytes | None) -> str | None:
    """Tunnels have their end's IP address in this place; an Ethernet address has six bytes, InfiniBand's twenty."""
    return raw.hex(":") if raw and len(raw) in (6, 8, 20) else None


def _ip(family: int, raw: bytes | None) -> str | None:
    return str(ip_address(raw)) if raw and len(raw) == _ADDRESS_BYTES.get(family) else None


def _vlan(kind: str | None, info: dict[int, bytes]) -> int | None:
    raw = dict(parse_attributes(info.get(INFO_DATA, b""))).get(VLAN_ID) if kind == "vlan" else None
    return struct.unpack("=H", raw)[0] if raw is not None and len(raw) == 2 else None


def _aliases(raw: bytes) -> tuple[str, ...]:
    return tuple(decode(value.split(b"\0", 1)[0]) for kind, value in parse_attributes(raw) if kind == IFLA_ALT_IFNAME)


def _counters(raw: bytes | None) -> InterfaceCounters | None:
    """struct rtnl_link_stats64, whose first ten counters have not moved since it was made (Linux 2.6.35)."""
    if raw is None or len(raw) < _COUNTERS.size:
        return None
    received, sent, received_bytes, sent_bytes, *others = _COUNTERS.unpack_from(raw)
    return InterfaceCounters(received_bytes, sent_bytes, received, sent, *others)


class RouteSocket:
    """One rtnetlink socket; it stays in the network namespace that it was made in.

    Source: NETLINK_ROUTE. Needs: nothing. Cost: one receive for about twenty links.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)
        self._socket.settimeout(5)
        self._sequence = 0

    def close(self) -> None:
        """Closes it."""
        self._socket.close()

    def fileno(self) -> int:
        """For ioctl(2): SIOCETHTOOL and its like reach the devices of the socket's namespace."""
        return self._socket.fileno()

    def links(self) -> list[Link]:
        """Every link of the namespace, by index."""
        bodies = self._dump(RTM_GETLINK, RTM_NEWLINK, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        return [link for body in bodies if (link := parse_link(body))]

    def addresses(self) -> dict[int, list[InterfaceAddress]]:
        """Every IP address, by the interface's index."""
        found: dict[int, list[InterfaceAddress]] = {}
        for body in self._dump(RTM_GETADDR, RTM_NEWADDR, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            parsed = parse_address(body)
            if parsed:
                found.setdefault(parsed[0], []).append(parsed[1])
        return found

    def routes(self) -> dict[int, list[Route]] | None:
        """Those of the main table by the interface's index; None when there are more than `MOST_ROUTES`.

        The rest of these waits in the socket then: nothing else can be asked by it.
        """
        found: dict[int, list[Route]] = {}
        request = _ROUTE.pack(socket.AF_UNSPEC, *(0,) * 8)
        for number, message in enumerate(self._ask(RTM_GETROUTE, NLM_F_DUMP, request)):
            if number == MOST_ROUTES:
                return None
            for index, route in parse_route(message.body) if message.type == RTM_NEWROUTE else ():
                found.setdefault(index, []).append(route)
        return found

    def namespace_number(self, namespace: int) -> int | None:
        """What this namespace calls another one, given by a descriptor; None when it has no number for it.

        Source: RTM_GETNSID (Linux 4.0).
        """
        request = struct.pack("=BxxxHHI", socket.AF_UNSPEC, 8, NETNSA_FD, namespace)
        for message in self._ask(RTM_GETNSID, 0, request):
            if message.type == RTM_NEWNSID:
                return parse_namespace_number(message.body)
        return None

    def _dump(self, asked: int, wanted: int, request: bytes) -> list[bytes]:
        """All bodies of one type; asked again when the list changed while it was told."""
        for _ in range(_TRIES):
            messages = list(self._ask(asked, NLM_F_DUMP, request))
            if not any(message.flags & NLM_F_DUMP_INTR for message in messages):
                return [message.body for message in messages if message.type == wanted]
        raise Unavailable("the kernel's list of interfaces changes faster than it can be read")

    def _ask(self, kind: int, flags: int, request: bytes) -> Iterator[Message]:
        """Sends one request and gives its answers, for a dump up to the end that the kernel marks."""
        self._sequence += 1
        size = _HEADER.size + len(request)
        self._socket.send(_HEADER.pack(size, kind, NLM_F_REQUEST | flags, self._sequence, 0) + request)
        while True:
            answers = [one for one in parse_messages(self._receive()) if one.sequence == self._sequence]
            for message in answers:
                if message.type == NLMSG_ERROR:
                    _raise_error(message.body)
                if message.type in (NLMSG_DONE, NLMSG_ERROR):
                    return
                yield message
            if answers and not flags:
                return

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError:
            raise Unavailable("rtnetlink does not answer") from None


def _raise_error(body: bytes) -> None:
    """Raises what the kernel reports, unless it is an acknowledgement."""
    code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if code:
        raise NativeError("rtnetlink", code, os.strerror(code))
