"""Tables of sockets, adapters and routes as Windows writes them. Pure; nothing is read outside of the given bytes."""

import socket
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import Struct

from hostscope.model.text import decode
from hostscope.platforms.windows.native import iphlpapi
from hostscope.platforms.windows.native.iphlpapi import (
    AF_INET,
    AF_INET6,
    MIB_TCP6ROW,
    MIB_TCP6ROW_OWNER_MODULE,
    MIB_TCP6ROW_OWNER_PID,
    MIB_TCPROW,
    MIB_TCPROW_OWNER_MODULE,
    MIB_TCPROW_OWNER_PID,
    MIB_UDP6ROW_OWNER_MODULE,
    MIB_UDP6ROW_OWNER_PID,
    MIB_UDPROW_OWNER_MODULE,
    MIB_UDPROW_OWNER_PID,
    TCPIP_OWNER_MODULE_BASIC_INFO,
)
from hostscope.platforms.windows.native.netioapi import (
    IP_ADAPTER_ADDRESSES_LH,
    IP_ADAPTER_DNS_SERVER_ADDRESS_XP,
    IP_ADAPTER_DNS_SUFFIX,
    IP_ADAPTER_GATEWAY_ADDRESS_LH,
    IP_ADAPTER_UNICAST_ADDRESS_LH,
    MIB_IPFORWARD_ROW2,
    SOCKADDR_INET,
)
from hostscope.platforms.windows.native.types import Composite, alignment, sizeof
from hostscope.platforms.windows.parse import parse_text

LISTEN, TIME_WAIT = "listen", "time-wait"
TCP_STATES = {
    iphlpapi.MIB_TCP_STATE_CLOSED: "closed",
    iphlpapi.MIB_TCP_STATE_LISTEN: LISTEN,
    iphlpapi.MIB_TCP_STATE_SYN_SENT: "syn-sent",
    iphlpapi.MIB_TCP_STATE_SYN_RCVD: "syn-received",
    iphlpapi.MIB_TCP_STATE_ESTAB: "established",
    iphlpapi.MIB_TCP_STATE_FIN_WAIT1: "fin-wait-1",
    iphlpapi.MIB_TCP_STATE_FIN_WAIT2: "fin-wait-2",
    iphlpapi.MIB_TCP_STATE_CLOSE_WAIT: "close-wait",
    iphlpapi.MIB_TCP_STATE_CLOSING: "closing",
    iphlpapi.MIB_TCP_STATE_LAST_ACK: "last-ack",
    iphlpapi.MIB_TCP_STATE_TIME_WAIT: TIME_WAIT,
    iphlpapi.MIB_TCP_STATE_DELETE_TCB: "closed",
}
"""All twelve; of the last one, whose connection is being taken apart, the same is said as of closed ones."""

Row = Composite
ROWS: dict[tuple[str, int, bool], type[Row]] = {
    ("tcp", AF_INET, True): MIB_TCPROW_OWNER_MODULE,
    ("tcp", AF_INET6, True): MIB_TCP6ROW_OWNER_MODULE,
    ("udp", AF_INET, True): MIB_UDPROW_OWNER_MODULE,
    ("udp", AF_INET6, True): MIB_UDP6ROW_OWNER_MODULE,
    ("tcp", AF_INET, False): MIB_TCPROW_OWNER_PID,
    ("tcp", AF_INET6, False): MIB_TCP6ROW_OWNER_PID,
    ("udp", AF_INET, False): MIB_UDPROW_OWNER_PID,
    ("udp", AF_INET6, False): MIB_UDP6ROW_OWNER_PID,
}
"""Protocol, family, with modules -> what a table is made of."""
_COUNT = struct.Struct("<I")
_MOST_LINKED = 4096
"""Of one list, which might lead in a circle."""
_MOST_TEXT = 2048


class Entry(NamedTuple):
    """One row of a table of sockets."""

    protocol: str
    family: int
    """AF_INET or AF_INET6, as Windows numbers them."""
    state: str | None
    """None for UDP, whose table has none."""
    local: bytes
    local_port: int
    local_scope: int
    """Index of the interface that a link-local address is of; else 0."""
    remote: bytes | None
    """None where there is no other end, or the table has none."""
    remote_port: int
    pid: int
    created: int
    """FILETIME; 0 where it was not told."""
    service_tag: int
    """Says which service of the process it was; 0 for none."""
    row: Any
    """As Windows wrote it, for questions about it."""


class Entries(NamedTuple):
    """One table."""

    rows: list[Entry]
    missing: int
    """Rows that it says it has beyond its end."""


def parse_table(raw: bytes, protocol: str, family: int, modules: bool) -> Entries:
    """A table of GetExtendedTcpTable or GetExtendedUdpTable, of owners' pids or `modules`."""
    if len(raw) < _COUNT.size:
        return Entries([], 0)
    row = ROWS[protocol, family, modules]
    first = max(_COUNT.size, alignment(row))
    claimed = _COUNT.unpack_from(raw)[0]
    count = min(claimed, max(len(raw) - first, 0) // sizeof(row))
    rows = (row * count).from_buffer_copy(raw, first) if count else ()
    read = _tcp if protocol == "tcp" else _udp
    return Entries([read(one, family) for one in rows], claimed - count)


def _tcp(row: Any, family: int) -> Entry:
    state = TCP_STATES.get(row.dwState, str(row.dwState))
    local, scope = _local(row, family)
    remote = bytes(row.ucRemoteAddr) if family == AF_INET6 else _COUNT.pack(row.dwRemoteAddr)
    ends = (None, 0) if state == LISTEN else (remote, port(row.dwRemotePort))
    created, tag = _module(row)
    here = port(row.dwLocalPort)
    return Entry("tcp", family, state, local, here, scope, ends[0], ends[1], row.dwOwningPid, created, tag, row)


def _udp(row: Any, family: int) -> Entry:
    local, scope = _local(row, family)
    created, tag = _module(row)
    return Entry("udp", family, None, local, port(row.dwLocalPort), scope, None, 0, row.dwOwningPid, created, tag, row)


def _local(row: Any, family: int) -> tuple[bytes, int]:
    if family == AF_INET6:
        return bytes(row.ucLocalAddr), row.dwLocalScopeId
    return _COUNT.pack(row.dwLocalAddr), 0


def _module(row: Any) -> tuple[int, int]:
    if not hasattr(row, "liCreateTimestamp"):
        return 0, 0
    return max(row.liCreateTimestamp, 0), row.OwningModuleInfo[0]


def port(raw: int) -> int:
    """A port of a table: in network order, in the low half; the rest is undefined."""
    return socket.ntohs(raw & 0xFFFF)


def connection(row: Any) -> MIB_TCPROW | MIB_TCP6ROW:
    """The same connection as the questions about statistics want it."""
    if isinstance(row, MIB_TCP6ROW_OWNER_MODULE | MIB_TCP6ROW_OWNER_PID):
        asked = MIB_TCP6ROW(State=row.dwState)
        for name in ("dwLocalScopeId", "dwLocalPort", "dwRemoteScopeId", "dwRemotePort"):
            setattr(asked, name, getattr(row, name))
        asked.LocalAddr.Byte[:], asked.RemoteAddr.Byte[:] = row.ucLocalAddr[:], row.ucRemoteAddr[:]
        return asked
    return MIB_TCPROW(row.dwState, row.dwLocalAddr, row.dwLocalPort, row.dwRemoteAddr, row.dwRemotePort)


def address_text(packed: bytes) -> str:
    """An address of four or sixteen bytes as text."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


# Adapters -------------------------------------------------------------------------------------------------------------


class Address(NamedTuple):
    """An address as an adapter has it."""

    text: str
    """Without scope."""
    prefix: int
    """Bits; 0 where it has none."""
    scope: int
    """Of IPv6: the interface that it is of."""
    port: int

    @property
    def family(self) -> str:
        """``inet inet6``."""
        return "inet6" if ":" in self.text else "inet"


class Adapter(Struct, frozen=True):
    """One adapter. Source: IP_ADAPTER_ADDRESSES."""

    guid: str
    """Its name to the system, such as ``{2C4E…}``."""
    name: str
    """As people see it."""
    description: str
    index: int
    """Of IPv4; of IPv6 where IPv4 is off."""
    index6: int
    mac: bytes
    mtu: int
    flags: int
    type: int
    """IANA's ifType."""
    state: int
    """IF_OPER_STATUS."""
    sent_bits_s: int
    received_bits_s: int
    addresses: tuple[Address, ...]
    dns_servers: tuple[Address, ...]
    gateways: tuple[Address, ...]
    suffix: str
    suffixes: tuple[str, ...]
    """More of them, of this connection alone."""
    metric: int
    """Of IPv4: the adapter with the lowest is asked first."""


class _Memory(NamedTuple):
    """Bytes that lay somewhere, and hold pointers into themselves."""

    raw: bytes
    base: int

    def has(self, pointer: int | None, size: int) -> bool:
        """Whether all of it lies within."""
        return pointer is not None and self.base <= pointer <= self.base + len(self.raw) - size

    def structure(self, pointer: int | None, kind: type[Row]) -> Any | None:
        """What lies there; None for a pointer that leads elsewhere."""
        if pointer is None or not self.has(pointer, sizeof(kind)):
            return None
        return kind.from_buffer_copy(self.raw, pointer - self.base)

    def chain(self, pointer: int | None, kind: type[Row]) -> Iterator[Any]:
        """The list that begins there."""
        for _ in range(_MOST_LINKED):
            found = self.structure(pointer, kind)
            if found is None:
                return
            yield found
            pointer = found.Next

    def text(self, pointer: int | None) -> bytes:
        """Bytes from there up to a NUL."""
        if pointer is None or not self.has(pointer, 1):
            return b""
        start = pointer - self.base
        return self.raw[start : start + _MOST_TEXT].partition(b"\0")[0]

    def wide(self, pointer: int | None) -> str:
        """UTF-16 from there up to a NUL."""
        if pointer is None or not self.has(pointer, 2):
            return ""
        start = pointer - self.base
        return parse_text(self.raw[start : start + 2 * _MOST_TEXT])

    def address(self, place: Any, prefix: int = 0) -> Address | None:
        """What a SOCKET_ADDRESS leads to."""
        size = place.iSockaddrLength
        if not 0 < size <= 128 or not self.has(place.lpSockaddr, size):
            return None
        start = place.lpSockaddr - self.base
        return parse_sockaddr(self.raw[start : start + size], prefix)


def parse_adapters(raw: bytes, base: int) -> list[Adapter]:
    """What GetAdaptersAddresses wrote at the address `base`."""
    memory = _Memory(raw, base)
    return [_adapter(memory, one) for one in memory.chain(base, IP_ADAPTER_ADDRESSES_LH)]


def _adapter(memory: _Memory, one: Any) -> Adapter:
    unicast = memory.chain(one.FirstUnicastAddress, IP_ADAPTER_UNICAST_ADDRESS_LH)
    servers = memory.chain(one.FirstDnsServerAddress, IP_ADAPTER_DNS_SERVER_ADDRESS_XP)
    gateways = memory.chain(one.FirstGatewayAddress, IP_ADAPTER_GATEWAY_ADDRESS_LH)
    suffixes = memory.chain(one.FirstDnsSuffix, IP_ADAPTER_DNS_SUFFIX)
    return Adapter(
        guid=decode(memory.text(one.AdapterName)),
        name=memory.wide(one.FriendlyName),
        description=memory.wide(one.Description),
        index=one.IfIndex or one.Ipv6IfIndex,
        index6=one.Ipv6IfIndex,
        mac=bytes(one.PhysicalAddress)[: one.PhysicalAddressLength],
        mtu=one.Mtu,
        flags=one.Flags,
        type=one.IfType,
        state=one.OperStatus,
        sent_bits_s=one.TransmitLinkSpeed,
        received_bits_s=one.ReceiveLinkSpeed,
        addresses=_known(memory.address(each.Address, each.OnLinkPrefixLength) for each in unicast),
        dns_servers=_known(memory.address(each.Address) for each in servers),
        gateways=_known(memory.address(each.Address) for each in gateways),
        suffix=memory.wide(one.DnsSuffix),
        suffixes=tuple(parse_text(bytes(each.String)) for each in suffixes),
        metric=one.Ipv4Metric,
    )


def _known(addresses: Iterator[Address | None]) -> tuple[Address, ...]:
    return tuple(address for address in addresses if address is not None)


def parse_sockaddr(raw: bytes, prefix: int = 0) -> Address | None:
    """A sockaddr_in or sockaddr_in6; None for anything else."""
    if len(raw) < 8:
        return None
    family, number = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:4], "big")
    if family == AF_INET:
        return Address(address_text(raw[4:8]), min(prefix, 32), 0, number)
    if family == AF_INET6 and len(raw) >= 24:
        scope = int.from_bytes(raw[24:28], "little")
        return Address(address_text(raw[8:24]), min(prefix, 128), scope, number)
    return None


def parse_owner_module(raw: bytes, base: int) -> tuple[str, str]:
    """Name and path that GetOwnerModuleFrom… wrote at the address `base`."""
    memory = _Memory(raw, base)
    found = memory.structure(base, TCPIP_OWNER_MODULE_BASIC_INFO)
    if found is None:
        return "", ""
    return memory.wide(found.pModuleName), memory.wide(found.pModulePath)


class Route(NamedTuple):
    """One route. Source: MIB_IPFORWARD_ROW2."""

    destination: Address
    gateway: Address | None
    """None where what is there is reached directly."""
    interface: int
    metric: int


def parse_route(row: MIB_IPFORWARD_ROW2) -> Route | None:
    """None for a family that is neither IPv4 nor IPv6."""
    destination = _inet(row.DestinationPrefix.Prefix, row.DestinationPrefix.PrefixLength)
    if destination is None:
        return None
    gateway = _inet(row.NextHop, 0)
    anywhere = gateway is None or gateway.text in ("0.0.0.0", "::")
    return Route(destination, None if anywhere else gateway, row.InterfaceIndex, row.Metric)


def _inet(address: SOCKADDR_INET, prefix: int) -> Address | None:
    return parse_sockaddr(bytes(address), prefix)
