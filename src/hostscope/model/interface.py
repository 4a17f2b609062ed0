"""Network interfaces."""

from msgspec import Struct

from hostscope.model.gap import Gap

INTERFACE_SCHEMA = "hostscope.interface/1"


class InterfaceAddress(Struct, frozen=True, gc=False):
    """One address of an interface."""

    family: str
    """``inet inet6``."""
    address: str
    prefix: int
    scope: str | None = None
    """``global link host site``."""
    peer: str | None = None
    """Point-to-point links."""
    broadcast: str | None = None
    label: str | None = None


class InterfaceCounters(Struct, frozen=True, gc=False):
    """Since the interface was made. Source: rtnl_link_stats64."""

    received_bytes: int
    sent_bytes: int
    received_packets: int
    sent_packets: int
    received_errors: int
    sent_errors: int
    received_drops: int
    sent_drops: int
    multicast: int | None = None
    collisions: int | None = None


class InterfaceRates(Struct, frozen=True, gc=False):
    """Between two looks, a second."""

    received_bytes_s: float
    sent_bytes_s: float
    received_packets_s: float
    sent_packets_s: float
    errors_s: float
    drops_s: float


class Route(Struct, frozen=True, gc=False):
    """Where packets go through an interface."""

    destination: str
    """With its prefix length: ``0.0.0.0/0`` is where nothing else fits."""
    gateway: str | None = None
    """None where what is there is reached directly."""
    metric: int | None = None
    """Of several routes to one destination the lowest is taken; None where the system knows none. Windows adds the
    interface's own to it."""


class Interface(Struct, frozen=True):
    """One network interface."""

    name: str
    index: int
    kind: str | None
    """``ethernet loopback veth bridge bond vlan wireless tun wireguard …``."""
    flags: tuple[str, ...]
    """``up running loopback broadcast multicast promiscuous …``."""
    state: str | None
    """Operational: ``up down dormant lower-layer-down unknown``."""
    mac: str | None = None
    mtu_bytes: int | None = None
    speed_bits_s: int | None = None
    duplex: str | None = None
    addresses: tuple[InterfaceAddress, ...] = ()
    counters: InterfaceCounters | None = None
    rates: InterfaceRates | None = None
    """Only when two looks were asked for."""
    controller: str | None = None
    """The bridge or bond that it is a port of."""
    lower: str | None = None
    """The interface that it is stacked on, or the other end of a veth pair."""
    peer_index: int | None = None
    peer_net_ns: int | None = None
    """Namespace of the other end, when it is another."""
    wireless: str | None = None
    """Name of the wireless network."""
    vlan: int | None = None
    aliases: tuple[str, ...] = ()
    net_ns: int | None = None
    routes: tuple[Route, ...] | None = None
    """Of the main routing table (Linux), without the host's own addresses and multicast."""
    gaps: tuple[Gap, ...] = ()
