"""Network interfaces of a Windows host, with addresses and counters."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network

from msgspec.structs import replace

from hostscope.model.gap import Gap, Reason
from hostscope.model.interface import Interface, InterfaceAddress, InterfaceCounters, Route
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.adapters import read_adapters
from hostscope.platforms.windows.native import netioapi
from hostscope.platforms.windows.native.netioapi import IP_ADAPTER_NO_MULTICAST, IP_ADAPTER_RECEIVE_ONLY, MIB_IF_ROW2
from hostscope.platforms.windows.parse_network import Adapter, Address, parse_route

ETHERNET, LOOPBACK, WIRELESS = "ethernet", "loopback", "wireless"
KINDS = {
    6: ETHERNET, 9: "token-ring", 23: "ppp", 24: LOOPBACK, 37: "atm", 53: "virtual", 71: WIRELESS, 131: "tunnel",
    144: "firewire", 199: "infiniband", 209: "bridge", 243: "mobile", 244: "mobile",
}  # fmt: skip
"""IF_TYPE_* of ipifcons.h, IANA's numbers."""
STATES = {
    1: "up", 2: "down", 3: "testing", 4: "unknown", 5: "dormant", 6: "not-present", 7: "lower-layer-down",
}  # fmt: skip
"""IF_OPER_STATUS."""
_ACCESS = {2: "broadcast", 3: "point-to-point", 4: "point-to-multi-point"}
"""NET_IF_ACCESS_TYPE."""
_UP, _TYPE_LOOPBACK = 1, 24
_NO_LIMIT = 0xFFFF_FFFF
"""Mtu of the loopback interface: there is none."""
_EVERYBODY = "255.255.255.255"
_UNKNOWN_SPEED = frozenset({0, 2**64 - 1})
_NO_DUPLEX = Gap("duplex", Reason.UNSUPPORTED, "not in what Windows tells of an interface")
_NO_NETWORK = Gap("wireless", Reason.UNSUPPORTED, "only the WLAN service knows, and it is not asked")


class Interfaces:
    """Implements `hostscope.platforms.base_network.Interfaces`."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        """Every adapter of our network compartment, those that are down included.

        Filters that the network stack lists as interfaces of their own are left out: what passes them is counted by the
        adapter below.

        Needs: nothing.
        Source: GetAdaptersAddresses, GetIfEntry2, GetIpForwardTable2 (Windows Vista).
        Cost: two calls, and one for each adapter.
        """
        tally.method = "adapters"
        adapters, routes = read_adapters(), _routes()
        for adapter in adapters:
            tally.seen += 1
            row = _interface(adapter)
            if isinstance(routes, Gap):
                yield replace(row, gaps=(*row.gaps, routes))
            else:
                yield replace(row, routes=tuple(_leading_on(routes.get(adapter.index, ()), row.addresses)))


def _routes() -> dict[int, list[Route]] | Gap:
    """By interface, lowest metric first."""
    try:
        found = [route for row in netioapi.routes() if (route := parse_route(row))]
    except OSError as failed:
        return translate.gap("routes", failed)
    routes: dict[int, list[Route]] = {}
    for one in sorted(found, key=lambda one: one.metric):
        destination = f"{one.destination.text}/{one.destination.prefix}"
        gateway = one.gateway.text if one.gateway else None
        routes.setdefault(one.interface, []).append(Route(destination, gateway, one.metric))
    return routes


def _leading_on(routes: Iterable[Route], addresses: Iterable[InterfaceAddress]) -> Iterator[Route]:
    """Without multicast, broadcast and what leads to the interface's own addresses, as Linux' main table has them."""
    own = {address for one in addresses for address in (one.address, one.broadcast)} | {_EVERYBODY}
    for route in routes:
        network = ip_network(route.destination)
        single = network.prefixlen == network.max_prefixlen and route.gateway is None
        if not network.is_multicast and not (single and str(network.network_address) in own):
            yield route


def _interface(adapter: Adapter) -> Interface:
    row = _row_of(adapter)
    kind = KINDS.get(adapter.type, f"type {adapter.type}")
    gaps = [row] if isinstance(row, Gap) else []
    if adapter.state == _UP and kind in (ETHERNET, WIRELESS):
        gaps.append(_NO_DUPLEX)
    if kind == WIRELESS:
        gaps.append(_NO_NETWORK)
    speed = adapter.sent_bits_s
    return Interface(
        name=adapter.name or adapter.guid,
        index=adapter.index,
        kind=kind,
        flags=_flags(adapter, None if isinstance(row, Gap) else row),
        state=STATES.get(adapter.state, str(adapter.state)),
        mac=adapter.mac.hex(":") or None,
        mtu_bytes=None if adapter.mtu == _NO_LIMIT else adapter.mtu,
        speed_bits_s=None if speed in _UNKNOWN_SPEED else speed,
        addresses=tuple(_address(one, kind == ETHERNET) for one in adapter.addresses),
        counters=None if isinstance(row, Gap) else _counters(row),
        aliases=tuple(dict.fromkeys(name for name in (adapter.description, adapter.guid) if name)),
        gaps=tuple(gaps),
    )


def _row_of(adapter: Adapter) -> MIB_IF_ROW2 | Gap:
    try:
        return netioapi.interface_row(adapter.index)
    except OSError as failed:
        return translate.gap("counters", failed)


def _flags(adapter: Adapter, row: MIB_IF_ROW2 | None) -> tuple[str, ...]:
    """`up` is what somebody switched on, `running` what has a carrier; without `row` only the latter is known."""
    found = {
        "up": row is not None and row.AdminStatus == _UP,
        "running": adapter.state == _UP,
        LOOPBACK: adapter.type == _TYPE_LOOPBACK,
        "multicast": not adapter.flags & IP_ADAPTER_NO_MULTICAST,
        "receive-only": bool(adapter.flags & IP_ADAPTER_RECEIVE_ONLY),
    }
    access = _ACCESS.get(row.AccessType) if row is not None else None
    return (*(name for name, is_set in found.items() if is_set), *([access] if access else []))


def _address(one: Address, broadcasts: bool) -> InterfaceAddress:
    """Windows keeps no broadcast address: the network's last one is it."""
    broadcast = None
    if broadcasts and one.family == "inet" and 0 < one.prefix < 31:
        broadcast = str(ip_network(f"{one.text}/{one.prefix}", strict=False).broadcast_address)
    return InterfaceAddress(one.family, one.text, one.prefix, _scope(one.text), broadcast=broadcast)


def _scope(text: str) -> str:
    address = ip_address(text)
    if address.is_loopback:
        return "host"
    if address.is_link_local:
        return "link"
    return "site" if address.version == 6 and address.is_site_local else "global"


def _counters(row: MIB_IF_ROW2) -> InterfaceCounters:
    return InterfaceCounters(
        received_bytes=row.InOctets,
        sent_bytes=row.OutOctets,
        received_packets=row.InUcastPkts + row.InNUcastPkts,
        sent_packets=row.OutUcastPkts + row.OutNUcastPkts,
        received_errors=row.InErrors,
        sent_errors=row.OutErrors,
        received_drops=row.InDiscards,
        sent_drops=row.OutDiscards,
    )
