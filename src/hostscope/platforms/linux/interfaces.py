"""Network interfaces of every network namespace, by rtnetlink."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress

from msgspec import Struct
from msgspec.structs import replace

from hostscope.model.gap import Gap, Reason
from hostscope.model.interface import Interface, InterfaceAddress, Route
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.linux.device_settings import is_wireless, read_settings, wireless_network
from hostscope.platforms.linux.net_namespaces import ENTER, NetNamespace, find, inside
from hostscope.platforms.linux.privileges import READ_OTHERS, lacking
from hostscope.platforms.linux.rtnetlink import MOST_ROUTES, Link, RouteSocket
from hostscope.platforms.linux.translate import REFUSED, VANISHED, error, gap
from hostscope.platforms.tally import Tally

FLAGS = {
    0x1: "up", 0x2: "broadcast", 0x4: "debug", 0x8: "loopback", 0x10: "point-to-point", 0x40: "running", 0x80: "no-arp",
    0x100: "promiscuous", 0x200: "all-multicast", 0x400: "controller", 0x800: "port", 0x1000: "multicast",
    0x10000: "lower-up", 0x20000: "dormant", 0x40000: "echo",
}  # fmt: skip
"""IFF_* of linux/if.h."""
PROMISCUOUS = 0x100

HARDWARE = {
    1: "ethernet", 32: "infiniband", 280: "can", 512: "ppp", 768: "ipip", 769: "ip6tnl", 772: "loopback", 776: "sit",
    778: "gre", 801: "wireless", 802: "wireless", 803: "wireless", 823: "ip6gre", 824: "netlink", 65534: "none",
}  # fmt: skip
"""ARPHRD_* of linux/if_arp.h, for devices that name no kind of their own."""
_ETHERNET = 1
MANY_ROUTES = Gap("routes", Reason.UNAVAILABLE, f"more than {MOST_ROUTES}, which are not read")


class _Look(Struct, frozen=True):
    """One namespace while it is looked into."""

    namespace: NetNamespace
    route: RouteSocket
    links: list[Link]
    numbers: dict[int, int]
    """What this namespace calls others -> their inodes."""


class _Found(Struct, frozen=True):
    """A link, before what it refers to has names."""

    link: Link
    other_ns: int | None
    """The namespace of its lower device, when that is another one and can be told."""
    row: Interface


class Interfaces:
    """Implements `hostscope.platforms.base_network.Interfaces`."""

    def __init__(self, privileges: Privileges | None = None) -> None:
        self._privileges = privileges

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        """Every interface of every network namespace that can be looked into, ours first.

        Needs: CAP_SYS_ADMIN for namespaces other than ours, CAP_SYS_PTRACE to find those of other users' processes.
        Source: rtnetlink(7), SIOCETHTOOL, wireless extensions.
        Cost: finding namespaces (see `net_namespaces.find`), two dumps for each, and two or three system calls for
            each interface.
        """
        tally.method = "rtnetlink"
        with self._raised():
            found = [one for look in _looks(tally) for one in _read(look)]
        names = {(one.row.net_ns, one.link.index): one.link.name for one in found}
        for one in found:
            tally.seen += 1
            yield _related(one, names)

    def _raised(self) -> AbstractContextManager[None]:
        names = (*ENTER, *READ_OTHERS)
        return self._privileges.using(names, "look into every network namespace") if self._privileges else nullcontext()


def _looks(tally: Tally) -> Iterator[_Look]:
    """Each namespace in turn; those that we may not enter are counted."""
    namespaces = find()
    namespaces.tell(tally)
    for namespace in namespaces.found:
        try:
            with closing(inside(namespace, RouteSocket)) as route:
                links = route.links()
                yield _Look(namespace, route, links, _numbers(route, links, namespaces.found))
        except OSError as failed:
            if namespace.ours:
                raise error("rtnetlink", failed) from failed
            _count(tally, namespace, failed)


def _count(tally: Tally, namespace: NetNamespace, failed: OSError) -> None:
    if failed.errno in REFUSED:
        tally.denied += 1
        missing = lacking((*ENTER, "sys_ptrace"))
        tally.note(f"interfaces of other network namespaces need root, or CAP_SYS_ADMIN and CAP_SYS_PTRACE{missing}")
    elif failed.errno in VANISHED:
        tally.vanished += 1
    else:
        tally.failed += 1
        tally.note(f"network namespace {namespace.inode}: {failed.strerror}")


def _numbers(route: RouteSocket, links: list[Link], namespaces: tuple[NetNamespace, ...]) -> dict[int, int]:
    """Only as far as links refer to other namespaces: most refer to ours, which comes first."""
    wanted = {link.lower_ns for link in links if link.lower_ns is not None}
    found: dict[int, int] = {}
    for namespace in namespaces:
        if not wanted - found.keys():
            break
        with suppress(OSError), _descriptor(namespace) as descriptor:
            number = route.namespace_number(descriptor)
            if number is not None and namespace.inode is not None:
                found[number] = namespace.inode
    return found


@contextmanager
def _descriptor(namespace: NetNamespace) -> Iterator[int]:
    """Of the namespace, taken inside of it: its path may lie in a hostile mount namespace."""
    descriptor = inside(namespace, lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(look: _Look) -> Iterator[_Found]:
    addresses, routes = look.route.addresses(), look.route.routes()
    for link in look.links:
        other = look.numbers.get(link.lower_ns) if link.lower_ns is not None else None
        row = _row(look, link, tuple(addresses.get(link.index, ())))
        yield _Found(link, other, _with_routes(row, routes))


def _with_routes(row: Interface, routes: dict[int, list[Route]] | None) -> Interface:
    if routes is None:
        return replace(row, gaps=(*row.gaps, MANY_ROUTES))
    return replace(row, routes=tuple(routes.get(row.index, ())))


def _row(look: _Look, link: Link, addresses: tuple[InterfaceAddress, ...]) -> Interface:
    descriptor, gaps = look.route.fileno(), list[Gap]()
    settings = read_settings(descriptor, link.name)
    if link.kind is None and link.state in (None, "up"):
        gaps += settings.gaps  # a virtual device, or one without a carrier, has no speed to be known
    radio = link.hardware == _ETHERNET and link.kind is None and is_wireless(descriptor, link.name)
    return Interface(
        name=link.name,
        index=link.index,
        kind="wireless" if radio else link.kind or HARDWARE.get(link.hardware, f"hardware {link.hardware}"),
        flags=flag_names(link),
        state=link.state,
        mac=link.mac,
        mtu_bytes=link.mtu,
        speed_bits_s=settings.speed_bits_s,
        duplex=settings.duplex,
        addresses=addresses,
        counters=link.counters,
        wireless=_network(descriptor, link.name, gaps) if radio else None,
        vlan=link.vlan,
        aliases=link.aliases,
        net_ns=look.namespace.inode,
        gaps=tuple(gaps),
    )


def _related(one: _Found, names: dict[tuple[int | None, int], str]) -> Interface:
    """The row with what it is a port of, what it is stacked on, and its other end."""
    link, gaps = one.link, list(one.row.gaps)
    controller = names.get((one.row.net_ns, link.controller)) if link.controller else None
    if link.lower is None or (link.lower == link.index and link.lower_ns is None):
        return replace(one.row, controller=controller)
    elsewhere = link.lower_ns is not None
    if elsewhere and one.other_ns is None:
        gaps.append(Gap("peer_net_ns", Reason.UNAVAILABLE, "its other end is in a namespace that could not be entered"))
    place = one.other_ns if elsewhere else one.row.net_ns
    return replace(
        one.row,
        controller=controller,
        lower=None if elsewhere and place is None else names.get((place, link.lower)),
        peer_index=link.lower,
        peer_net_ns=one.other_ns,
        gaps=tuple(gaps),
    )


def _network(descriptor: int, name: str, gaps: list[Gap]) -> str | None:
    try:
        return wireless_network(descriptor, name)
    except OSError as failed:
        gaps.append(gap("wireless", failed))
        return None


def flag_names(link: Link) -> tuple[str, ...]:
    """Names of IFF_*. ``ip link`` sets IFF_PROMISC; packet sockets raise the count and leave the flag alone."""
    flags = link.flags | (PROMISCUOUS if link.promiscuous else 0)
    return tuple(name for bit, name in FLAGS.items() if flags & bit)
