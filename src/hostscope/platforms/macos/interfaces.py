"""Network interfaces, as the kernel's routing table lists them."""

import socket
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from hostscope.model.gap import Gap, Reason
from hostscope.model.interface import Interface, InterfaceAddress, Route
from hostscope.platforms.macos.native import routes, sysctls
from hostscope.platforms.macos.parse_route_table import MOST_ROUTES, parse_route_table
from hostscope.platforms.macos.parse_routes import ListedLink, flag_names, parse_links, parse_totals
from hostscope.platforms.macos.translate import error, gap
from hostscope.platforms.tally import Tally

UP, LOOPBACK, RUNNING = 0x1, 0x8, 0x40
"""IFF_* bits of net/if.h."""
WHERE = (routes.CTL_NET, routes.PF_ROUTE, 0, 0, routes.NET_RT_IFLIST2, 0)
TABLE = (routes.CTL_NET, routes.PF_ROUTE, 0, 0, routes.NET_RT_DUMP2, 0)
TOTALS = (
    routes.CTL_NET, routes.PF_LINK, routes.NETLINK_GENERIC, routes.IFMIB_IFALLDATA, 0, routes.IFDATA_GENERAL,
)  # fmt: skip
MANY_ROUTES = Gap("routes", Reason.UNAVAILABLE, f"more than {MOST_ROUTES}, which are not read")
Medium = tuple[int, int]
"""Status and medium in use (IFM_*)."""


class Interfaces:
    """Implements `hostscope.platforms.base_network.Interfaces`."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        """Every interface, in the kernel's order. macOS has no network namespaces.

        Source: sysctl NET_RT_IFLIST2, IFMIB_IFALLDATA (if_data64), NET_RT_DUMP2; ioctl SIOCGIFMEDIA.
        Cost: two calls for each list, one for each interface.

        Raises:
            NativeError: the kernel does not list them.
        """
        tally.method = "iflist2"
        links, table = read_links(), _routes()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
            for link in links:
                tally.seen += 1
                yield _with_routes(interface_of(link, _medium(ask, link)), table)


def read_links() -> tuple[ListedLink, ...]:
    """The interfaces as the kernel lists them.

    Since macOS 13 that list rounds bytes, and cuts them to 32 bits, for programs that are not Apple's; the other list
    of interfaces (that of SNMP) does neither, but has no addresses.

    Raises:
        NativeError
    """
    try:
        links = parse_links(sysctls.read_numbers(WHERE))
    except OSError as failed:
        raise error("sysctl NET_RT_IFLIST2", failed) from failed
    totals = _totals()
    return tuple(_counted(link, totals.get(link.name)) for link in links)


def _totals() -> dict[str, tuple[int, int]]:
    """Empty where the kernel does not tell; the numbers of the first list stay then."""
    try:
        return parse_totals(sysctls.read_numbers(TOTALS))
    except OSError:
        return {}


def _counted(link: ListedLink, total: tuple[int, int] | None) -> ListedLink:
    if total is None:
        return link
    received, sent = total
    return link._replace(counters=replace(link.counters, received_bytes=received, sent_bytes=sent))


def _routes() -> dict[int, list[Route]] | Gap:
    try:
        found = parse_route_table(sysctls.read_numbers(TABLE))
    except OSError as failed:
        return gap("routes", failed)
    return MANY_ROUTES if found is None else found


def _with_routes(row: Interface, table: dict[int, list[Route]] | Gap) -> Interface:
    if isinstance(table, Gap):
        return replace(row, gaps=(*row.gaps, table))
    return replace(row, routes=tuple(_leading_on(table.get(row.index, ()), row.addresses)))


def _leading_on(found: Iterable[Route], addresses: Iterable[InterfaceAddress]) -> Iterator[Route]:
    """Without what leads to the interface's own addresses, as Linux' main table has them."""
    own = {one.address for one in addresses}
    for route in found:
        address, _, prefix = route.destination.partition("/")
        if route.gateway or prefix not in ("32", "128") or address not in own:
            yield route


def _medium(ask: socket.socket, link: ListedLink) -> Medium | None:
    """None for what has no medium, such as tunnels."""
    try:
        return routes.read_media(ask.fileno(), link.name)
    except OSError:
        return None


def interface_of(link: ListedLink, medium: Medium | None) -> Interface:
    """The record of an interface; its medium tells wireless ones apart, and whether there is a carrier."""
    status, active = medium or (0, 0)
    valid = bool(status & routes.IFM_AVALID)
    network = active & routes.IFM_NMASK
    return Interface(
        name=link.name,
        index=link.number,
        kind="wireless" if network == routes.IFM_IEEE80211 and link.kind == "ethernet" else link.kind,
        flags=flag_names(link.flags),
        state=_state(link, status if valid else None),
        mac=link.mac,
        mtu_bytes=link.mtu_bytes,
        speed_bits_s=link.speed_bits_s,
        duplex=_duplex(active) if valid and network == routes.IFM_ETHER else None,
        addresses=link.addresses,
        counters=link.counters,
    )


def _state(link: ListedLink, status: int | None) -> str:
    """As Linux has it: an interface that is up without a carrier waits for its lower layer."""
    if not link.flags & UP:
        return "down"
    if status is not None:
        return "up" if status & routes.IFM_ACTIVE else "lower-layer-down"
    return "up" if link.flags & RUNNING else "unknown"


def _duplex(active: int) -> str | None:
    if active & routes.IFM_FDX:
        return "full"
    return "half" if active & routes.IFM_HDX else None
