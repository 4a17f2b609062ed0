"""Adapters, interfaces and routes (iphlpapi)."""

import ctypes
from typing import Any

from hostscope.platforms.windows.native.guid import GUID
from hostscope.platforms.windows.native.iphlpapi import ERROR_NO_DATA, ERROR_NOT_FOUND, IN6_ADDR, grown
from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.types import (
    BOOLEAN,
    BYTE,
    DWORD,
    INT,
    POINTER,
    PVOID,
    SHORT,
    UCHAR,
    ULONG,
    ULONG64,
    USHORT,
    WCHAR,
)

AF_UNSPEC = 0
GAA_FLAG_SKIP_ANYCAST = 0x0002
GAA_FLAG_SKIP_MULTICAST = 0x0004
GAA_FLAG_INCLUDE_GATEWAYS = 0x0080
GAA_FLAG_INCLUDE_ALL_INTERFACES = 0x0100
MAX_ADAPTER_ADDRESS_LENGTH = 8
MAX_DHCPV6_DUID_LENGTH = 130
MAX_DNS_SUFFIX_STRING_LENGTH = 256
IF_MAX_STRING_SIZE = 256
IF_MAX_PHYS_ADDRESS_LENGTH = 32
IP_ADAPTER_RECEIVE_ONLY = 0x08
IP_ADAPTER_NO_MULTICAST = 0x10
ERROR_BUFFER_OVERFLOW = 111


class SOCKET_ADDRESS(ctypes.Structure):
    _fields_ = (("lpSockaddr", PVOID), ("iSockaddrLength", INT))


class IP_ADAPTER_UNICAST_ADDRESS_LH(ctypes.Structure):
    _fields_ = (
        ("Length", ULONG),
        ("Flags", DWORD),
        ("Next", PVOID),
        ("Address", SOCKET_ADDRESS),
        ("PrefixOrigin", INT),
        ("SuffixOrigin", INT),
        ("DadState", INT),
        ("ValidLifetime", ULONG),
        ("PreferredLifetime", ULONG),
        ("LeaseLifetime", ULONG),
        ("OnLinkPrefixLength", UCHAR),
    )


class IP_ADAPTER_DNS_SERVER_ADDRESS_XP(ctypes.Structure):
    _fields_ = (("Length", ULONG), ("Reserved", DWORD), ("Next", PVOID), ("Address", SOCKET_ADDRESS))


class IP_ADAPTER_GATEWAY_ADDRESS_LH(ctypes.Structure):
    _fields_ = (("Length", ULONG), ("Reserved", DWORD), ("Next", PVOID), ("Address", SOCKET_ADDRESS))


class IP_ADAPTER_DNS_SUFFIX(ctypes.Structure):
    _fields_ = (("Next", PVOID), ("String", WCHAR * MAX_DNS_SUFFIX_STRING_LENGTH))


class IP_ADAPTER_ADDRESSES_LH(ctypes.Structure):
    _fields_ = (
        ("Length", ULONG),
        ("IfIndex", DWORD),
        ("Next", PVOID),
        ("AdapterName", PVOID),
        ("FirstUnicastAddress", PVOID),
        ("FirstAnycastAddress", PVOID),
        ("FirstMulticastAddress", PVOID),
        ("FirstDnsServerAddress", PVOID),
        ("DnsSuffix", PVOID),
        ("Description", PVOID),
        ("FriendlyName", PVOID),
        ("PhysicalAddress", BYTE * MAX_ADAPTER_ADDRESS_LENGTH),
        ("PhysicalAddressLength", ULONG),
        ("Flags", ULONG),
        ("Mtu", ULONG),
        ("IfType", DWORD),
        ("OperStatus", INT),
        ("Ipv6IfIndex", DWORD),
        ("ZoneIndices", ULONG * 16),
        ("FirstPrefix", PVOID),
        ("TransmitLinkSpeed", ULONG64),
        ("ReceiveLinkSpeed", ULONG64),
        ("FirstWinsServerAddress", PVOID),
        ("FirstGatewayAddress", PVOID),
        ("Ipv4Metric", ULONG),
        ("Ipv6Metric", ULONG),
        ("Luid", ULONG64),
        ("Dhcpv4Server", SOCKET_ADDRESS),
        ("CompartmentId", DWORD),
        ("NetworkGuid", GUID),
        ("ConnectionType", INT),
        ("TunnelType", INT),
        ("Dhcpv6Server", SOCKET_ADDRESS),
        ("Dhcpv6ClientDuid", BYTE * MAX_DHCPV6_DUID_LENGTH),
        ("Dhcpv6ClientDuidLength", ULONG),
        ("Dhcpv6Iaid", ULONG),
        ("FirstDnsSuffix", PVOID),
    )


class MIB_IF_ROW2(ctypes.Structure):
    _fields_ = (
        ("InterfaceLuid", ULONG64),
        ("InterfaceIndex", ULONG),
        ("InterfaceGuid", GUID),
        ("Alias", WCHAR * (IF_MAX_STRING_SIZE + 1)),
        ("Description", WCHAR * (IF_MAX_STRING_SIZE + 1)),
        ("PhysicalAddressLength", ULONG),
        ("PhysicalAddress", UCHAR * IF_MAX_PHYS_ADDRESS_LENGTH),
        ("PermanentPhysicalAddress", UCHAR * IF_MAX_PHYS_ADDRESS_LENGTH),
        ("Mtu", ULONG),
        ("Type", ULONG),
        ("TunnelType", INT),
        ("MediaType", INT),
        ("PhysicalMediumType", INT),
        ("AccessType", INT),
        ("DirectionType", INT),
        ("InterfaceAndOperStatusFlags", UCHAR),
        ("OperStatus", INT),
        ("AdminStatus", INT),
        ("MediaConnectState", INT),
        ("NetworkGuid", GUID),
        ("ConnectionType", INT),
        ("TransmitLinkSpeed", ULONG64),
        ("ReceiveLinkSpeed", ULONG64),
        ("InOctets", ULONG64),
        ("InUcastPkts", ULONG64),
        ("InNUcastPkts", ULONG64),
        ("InDiscards", ULONG64),
        ("InErrors", ULONG64),
        ("InUnknownProtos", ULONG64),
        ("InUcastOctets", ULONG64),
        ("InMulticastOctets", ULONG64),
        ("InBroadcastOctets", ULONG64),
        ("OutOctets", ULONG64),
        ("OutUcastPkts", ULONG64),
        ("OutNUcastPkts", ULONG64),
        ("OutDiscards", ULONG64),
        ("OutErrors", ULONG64),
        ("OutUcastOctets", ULONG64),
        ("OutMulticastOctets", ULONG64),
        ("OutBroadcastOctets", ULONG64),
        ("OutQLen", ULONG64),
    )


class SOCKADDR_IN6(ctypes.Structure):
    _fields_ = (
        ("sin6_family", SHORT),
        ("sin6_port", USHORT),
        ("sin6_flowinfo", ULONG),
        ("sin6_addr", IN6_ADDR),
        ("sin6_scope_id", ULONG),
    )


class SOCKADDR_INET(ctypes.Union):
    """An address of either family; an IPv4 one is parsed from the bytes."""

    _fields_ = (("Ipv6", SOCKADDR_IN6), ("si_family", USHORT))


class IP_ADDRESS_PREFIX(ctypes.Structure):
    _fields_ = (("Prefix", SOCKADDR_INET), ("PrefixLength", UCHAR))


class MIB_IPFORWARD_ROW2(ctypes.Structure):
    _fields_ = (
        ("InterfaceLuid", ULONG64),
        ("InterfaceIndex", ULONG),
        ("DestinationPrefix", IP_ADDRESS_PREFIX),
        ("NextHop", SOCKADDR_INET),
        ("SitePrefixLength", UCHAR),
        ("ValidLifetime", ULONG),
        ("PreferredLifetime", ULONG),
        ("Metric", ULONG),
        ("Protocol", INT),
        ("Loopback", BOOLEAN),
        ("AutoconfigureAddress", BOOLEAN),
        ("Publish", BOOLEAN),
        ("Immortal", BOOLEAN),
        ("Age", ULONG),
        ("Origin", INT),
    )


NOT_IN_HEADERS = {
    "MIB_IF_ROW2.InterfaceAndOperStatusFlags": "netioapi.h has eight bit fields of one BOOLEAN there",
}

SIGNATURES = {
    "GetAdaptersAddresses": (ULONG, (ULONG, ULONG, PVOID, PVOID, POINTER(ULONG))),
    "GetIfEntry2": (DWORD, (POINTER(MIB_IF_ROW2),)),
    "GetIpForwardTable2": (DWORD, (USHORT, POINTER(PVOID))),
    "FreeMibTable": (None, (PVOID,)),
}
iphlpapi = Library("iphlpapi", SIGNATURES)

_MOST_ROUTES = 1 << 20


def adapters() -> tuple[bytes, int]:
    """The list of adapters, and the address that it was written at: its pointers lead into it. Raises as above."""
    flags = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_INCLUDE_GATEWAYS
    flags |= GAA_FLAG_INCLUDE_ALL_INTERFACES

    def ask(buffer: Any, size: Any) -> int:
        code: int = iphlpapi.GetAdaptersAddresses(AF_UNSPEC, flags, None, buffer, size)
        return code

    return grown("GetAdaptersAddresses", ask, ERROR_BUFFER_OVERFLOW)


def interface_row(index: int) -> MIB_IF_ROW2:
    """What the system keeps of an interface, counters included. Raises as above."""
    row = MIB_IF_ROW2()
    row.InterfaceIndex = index
    code = iphlpapi.GetIfEntry2(row)
    if code:
        raise SystemRefused("GetIfEntry2", code)
    return row


def routes() -> list[MIB_IPFORWARD_ROW2]:
    """The routing tables of both families. Raises as above."""
    table = PVOID()
    code = iphlpapi.GetIpForwardTable2(AF_UNSPEC, table)
    if code in (ERROR_NO_DATA, ERROR_NOT_FOUND):
        return []
    if code or not table.value:
        raise SystemRefused("GetIpForwardTable2", code)
    try:
        return _rows_at(table.value)
    finally:
        iphlpapi.FreeMibTable(table)


def _rows_at(address: int) -> list[MIB_IPFORWARD_ROW2]:
    """MIB_IPFORWARD_TABLE2: the count, and rows of eight bytes' alignment behind it."""
    count = min(DWORD.from_address(address).value, _MOST_ROUTES)
    first = address + ctypes.sizeof(ULONG64)
    raw = ctypes.string_at(first, count * ctypes.sizeof(MIB_IPFORWARD_ROW2))
    return list((MIB_IPFORWARD_ROW2 * count).from_buffer_copy(raw)) if count else []
