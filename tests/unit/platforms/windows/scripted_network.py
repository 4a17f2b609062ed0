"""What the network stack would answer, as the very bytes it would write."""

import ctypes
import socket
from dataclasses import dataclass, field
from typing import Any

from hostscope.platforms.windows.native import iphlpapi, netioapi
from hostscope.platforms.windows.native.iphlpapi import AF_INET, AF_INET6
from hostscope.platforms.windows.parse_network import ROWS

INSUFFICIENT, OVERFLOW, NOT_FOUND = 122, 111, 1168


def order(port: int) -> int:
    """A port as tables have it: network order in the low half, and what was in memory before in the other."""
    return socket.htons(port) | 0xABCD0000


def tcp(
    state: int, local: tuple[str, int], remote: tuple[str, int] | None, pid: int, created: int = 0, tag: int = 0
) -> dict[str, Any]:
    """A connection or listener, whichever table it will be in."""
    return {"state": state, "local": local, "remote": remote, "pid": pid, "created": created, "tag": tag}


def udp(local: tuple[str, int], pid: int, created: int = 0, tag: int = 0, scope: int = 0) -> dict[str, Any]:
    """A UDP endpoint."""
    return {"local": local, "pid": pid, "created": created, "tag": tag, "scope": scope}


@dataclass
class Tables:
    """The tables of sockets; a row is in the one of its protocol and family."""

    tcp: list[dict[str, Any]] = field(default_factory=list)
    udp: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Protocol, family, class of table and the size of the buffer."""
    refuse_modules: int = 0
    grows: int = 0
    """So often the table is larger by the time it is asked for again."""

    def ask_tcp(self, buffer: Any, size: Any, ordered: int, family: int, kind: int, reserved: int) -> int:
        """GetExtendedTcpTable."""
        modules = kind == iphlpapi.TCP_TABLE_OWNER_MODULE_ALL
        assert modules or kind == iphlpapi.TCP_TABLE_OWNER_PID_ALL
        return self._answer("tcp", self.tcp, buffer, size, family, kind, modules)

    def ask_udp(self, buffer: Any, size: Any, ordered: int, family: int, kind: int, reserved: int) -> int:
        """GetExtendedUdpTable."""
        modules = kind == iphlpapi.UDP_TABLE_OWNER_MODULE
        assert modules or kind == iphlpapi.UDP_TABLE_OWNER_PID
        return self._answer("udp", self.udp, buffer, size, family, kind, modules)

    def _answer(
        self, protocol: str, rows: list[dict[str, Any]], buffer: Any, size: Any, family: int, kind: int, modules: bool
    ) -> int:
        self.calls.append((protocol, family, kind, size.value))
        if modules and self.refuse_modules:
            return self.refuse_modules
        own = [one for one in rows if (":" in one["local"][0]) == (family == AF_INET6)]
        answer = table(own, protocol, family, modules)
        if self.grows or len(answer) > size.value:
            self.grows = max(0, self.grows - 1)
            size.value = max(len(answer), size.value + 1)
            return INSUFFICIENT
        ctypes.memmove(buffer, answer, len(answer))
        return 0


def table(rows: list[dict[str, Any]], protocol: str, family: int, modules: bool) -> bytes:
    """A whole table."""
    kind = ROWS[protocol, family, modules]
    head = len(rows).to_bytes(4, "little").ljust(max(4, ctypes.alignment(kind)), b"\xee")
    return head + b"".join(bytes(row(kind, one)) for one in rows)


def row(kind: Any, one: dict[str, Any]) -> Any:
    """One row of a table of this kind."""
    made, names = kind(), {name for name, *_ in kind._fields_}
    remote = one.get("remote") or ("::" if ":" in one["local"][0] else "0.0.0.0", 0)
    for side, (address, port) in (("Local", one["local"]), ("Remote", remote)):
        if f"dw{side}Port" in names:
            setattr(made, f"dw{side}Port", order(port))
        if f"uc{side}Addr" in names:
            getattr(made, f"uc{side}Addr")[:] = socket.inet_pton(socket.AF_INET6, address)
        elif f"dw{side}Addr" in names:
            setattr(made, f"dw{side}Addr", int.from_bytes(socket.inet_aton(address), "little"))
    values = {"dwState": one.get("state"), "dwOwningPid": one["pid"], "liCreateTimestamp": one["created"]}
    for name, value in values.items():
        if name in names:
            setattr(made, name, value)
    if "dwLocalScopeId" in names:
        made.dwLocalScopeId = one.get("scope", 0)
    if "OwningModuleInfo" in names:
        made.OwningModuleInfo[0] = one["tag"]
    return made


@dataclass
class Card:
    """An adapter that GetAdaptersAddresses tells of."""

    name: str
    index: int
    type: int = 6
    state: int = 1
    addresses: tuple[tuple[str, int], ...] = ()
    servers: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    guid: str = "{4D36E972-E325-11CE-BFC1-08002BE10318}"
    description: str = "Ethernet Adapter"
    suffix: str = ""
    suffixes: tuple[str, ...] = ()
    mac: bytes = b"\x02\x00\x00\x00\x00\x01"
    mtu: int = 1500
    speed: int = 1_000_000_000
    metric: int = 25
    flags: int = 0


class Pool:
    """Memory that is filled front to back, and knows where it will lie."""

    def __init__(self, base: int) -> None:
        self.base, self.raw = base, bytearray()

    def put(self, raw: bytes) -> int:
        """Adds bytes; their address."""
        self.raw += bytes(-len(self.raw) % 8)
        at = self.base + len(self.raw)
        self.raw += raw
        return at

    def text(self, text: str) -> int:
        return self.put(text.encode("utf-16-le") + b"\0\0")

    def chain(self, kind: Any, made: list[Any]) -> int:
        """A linked list; where it begins, 0 for an empty one."""
        following = 0
        for one in reversed(made):
            one.Next = following
            following = self.put(bytes(one))
        return following

    def place(self, address: str) -> Any:
        """A SOCKET_ADDRESS."""
        raw = sockaddr(address)
        return netioapi.SOCKET_ADDRESS(self.put(raw), len(raw))


def sockaddr(address: str, port: int = 0) -> bytes:
    """A sockaddr_in or sockaddr_in6; ``address%scope``."""
    text, _, scope = address.partition("%")
    if ":" not in text:
        return AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton(text) + bytes(8)
    packed = socket.inet_pton(socket.AF_INET6, text)
    head = AF_INET6.to_bytes(2, "little") + port.to_bytes(2, "big") + bytes(4)
    return head + packed + int(scope or 0).to_bytes(4, "little")


def adapters(cards: list[Card], base: int) -> bytes:
    """The whole answer, as it would lie at `base`: the adapters first, then what they point to."""
    size = ctypes.sizeof(netioapi.IP_ADAPTER_ADDRESSES_LH)
    pool = Pool(base)
    pool.put(bytes(size * len(cards)))
    for number, card in enumerate(cards):
        one = _adapter(card, pool)
        one.Next = base + size * (number + 1) if number + 1 < len(cards) else None
        pool.raw[size * number : size * (number + 1)] = bytes(one)
    return bytes(pool.raw)


def _adapter(card: Card, pool: Pool) -> Any:
    one = netioapi.IP_ADAPTER_ADDRESSES_LH()
    one.Length, one.IfIndex, one.Ipv6IfIndex = ctypes.sizeof(one), card.index, card.index
    one.AdapterName = pool.put(card.guid.encode() + b"\0")
    one.Description, one.FriendlyName = pool.text(card.description), pool.text(card.name)
    one.DnsSuffix = pool.text(card.suffix)
    one.PhysicalAddress[: len(card.mac)], one.PhysicalAddressLength = card.mac, len(card.mac)
    one.Flags, one.Mtu, one.IfType, one.OperStatus, one.Ipv4Metric = (
        card.flags, card.mtu, card.type, card.state, card.metric,
    )  # fmt: skip
    one.TransmitLinkSpeed = one.ReceiveLinkSpeed = card.speed
    unicast = []
    for address, prefix in card.addresses:
        made = netioapi.IP_ADAPTER_UNICAST_ADDRESS_LH(Address=pool.place(address))
        made.OnLinkPrefixLength = prefix
        unicast.append(made)
    one.FirstUnicastAddress = pool.chain(netioapi.IP_ADAPTER_UNICAST_ADDRESS_LH, unicast)
    kind = netioapi.IP_ADAPTER_DNS_SERVER_ADDRESS_XP
    one.FirstDnsServerAddress = pool.chain(kind, [kind(Address=pool.place(text)) for text in card.servers])
    gate = netioapi.IP_ADAPTER_GATEWAY_ADDRESS_LH
    one.FirstGatewayAddress = pool.chain(gate, [gate(Address=pool.place(text)) for text in card.gateways])
    one.FirstDnsSuffix = pool.chain(netioapi.IP_ADAPTER_DNS_SUFFIX, [_suffix(text) for text in card.suffixes])
    return one


def _suffix(text: str) -> Any:
    made = netioapi.IP_ADAPTER_DNS_SUFFIX()
    made.String[: len(text)] = [ord(letter) for letter in text]
    return made


def route(destination: str, prefix: int, gateway: str, interface: int, metric: int = 0) -> Any:
    """One MIB_IPFORWARD_ROW2."""
    made = netioapi.MIB_IPFORWARD_ROW2(InterfaceIndex=interface, Metric=metric)
    for into, address in ((made.DestinationPrefix.Prefix, destination), (made.NextHop, gateway)):
        raw = sockaddr(address)
        ctypes.memmove(ctypes.addressof(into), raw, len(raw))
    made.DestinationPrefix.PrefixLength = prefix
    return made


@dataclass
class Stack:
    """GetAdaptersAddresses, GetIfEntry2 and GetIpForwardTable2."""

    cards: list[Card]
    counters: dict[int, dict[str, int]] = field(default_factory=dict)
    """Index -> fields of MIB_IF_ROW2; what is not in it is not found."""
    routes: list[Any] = field(default_factory=list)
    refuse_routes: int = 0
    table: Any = None
    calls: list[str] = field(default_factory=list)

    def ask_adapters(self, family: int, flags: int, reserved: Any, buffer: Any, size: Any) -> int:
        self.calls.append("adapters")
        answer = adapters(self.cards, ctypes.addressof(buffer))
        if len(answer) > size.value:
            size.value = len(answer)
            return OVERFLOW
        ctypes.memmove(buffer, answer, len(answer))
        return 0

    def ask_routes(self, family: int, table: Any) -> int:
        self.calls.append("routes")
        if self.refuse_routes:
            return self.refuse_routes
        raw = len(self.routes).to_bytes(8, "little") + b"".join(bytes(one) for one in self.routes)
        self.table = ctypes.create_string_buffer(raw, len(raw))
        table.value = ctypes.addressof(self.table)
        return 0

    def free(self, table: Any) -> None:
        assert table.value == ctypes.addressof(self.table)
        self.calls.append("free")

    def ask_interface(self, row: Any) -> int:
        self.calls.append("interface")
        if row.InterfaceIndex not in self.counters:
            return NOT_FOUND
        for name, value in self.counters[row.InterfaceIndex].items():
            setattr(row, name, value)
        return 0
