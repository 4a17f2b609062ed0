"""Network interfaces, as the kernel's routing table lists them."""

import socket
from collections.abc import Iterator

from hostscope.model.gap import Gap, Reason
from hostscope.model.interface import Interface
from hostscope.platforms.macos.native import routes, sysctls
from hostscope.platforms.macos.parse_routes import ListedLink, flag_names, parse_links
from hostscope.platforms.macos.translate import error
from hostscope.platforms.tally import Tally

UP, LOOPBACK, RUNNING = 0x1, 0x8, 0x40
"""IFF_* bits of net/if.h."""
WHERE = (routes.CTL_NET, routes.PF_ROUTE, 0, 0, routes.NET_RT_IFLIST2, 0)
NO_ROUTES = Gap("routes", Reason.UNSUPPORTED, "not in the kernel's list of interfaces")
Medium = tuple[int, int]
"""Status and medium in use (IFM_*)."""


class Interfaces:
    """Implements `hostscope.platforms.base.Interfaces`."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        """Every interface, in the kernel's order. macOS has no network namespaces.

        Source: sysctl NET_RT_IFLIST2 (if_data64), ioctl SIOCGIFMEDIA.
        Cost: two calls for the list, one for each interface.

        Raises:
            NativeError: the kernel does not list them.
        """
        tally.method = "iflist2"
        links = read_links()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
            for link in links:
                tally.seen += 1
                yield interface_of(link, _medium(ask, link))


def read_links() -> tuple[ListedLink, ...]:
    """The interfaces as the kernel lists them.

    Raises:
        NativeError
    """
    try:
        return parse_links(sysctls.read_numbers(WHERE))
    except OSError as failed:
        raise error("sysctl NET_RT_IFLIST2", failed) from failed


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
        gaps=(NO_ROUTES,),
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
