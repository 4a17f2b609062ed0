"""Every column of interfaces, in the order that help shows them."""

from collections.abc import Callable

from hostscope.model.interface import INTERFACE_SCHEMA, Interface, InterfaceCounters, InterfaceRates
from hostscope.render.column import Column, Kind, Value
from hostscope.render.layout import Layout

_DECIMAL = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))


def render_speed(bits_s: int) -> str:
    """``10G``, ``2.5G``, ``100M``: decimal steps, as speeds of links are given."""
    for size, letter in _DECIMAL:
        if bits_s >= size:
            return f"{bits_s / size:g}{letter}"
    return str(bits_s)


def _addresses(row: Interface) -> Value:
    return tuple(f"{one.address}/{one.prefix}" for one in row.addresses)


def _speed(row: Interface) -> Value:
    return None if row.speed_bits_s is None else render_speed(row.speed_bits_s)


def _count(name: str, title: str, kind: Kind, field: str, doc: str) -> Column[Interface]:
    def get(row: Interface) -> Value:
        counters: InterfaceCounters | None = row.counters
        return None if counters is None else getattr(counters, field)

    return Column(name, title, kind, f"counters.{field}", None, doc, get)


def _rate(name: str, title: str, field: str, doc: str) -> Column[Interface]:
    def get(row: Interface) -> Value:
        rates: InterfaceRates | None = row.rates
        return None if rates is None else round(getattr(rates, field))

    return Column(name, title, "bytes" if "bytes" in field else "int", f"rates.{field}", None, doc, get)


def _sum(one: str, other: str) -> Callable[[Interface], Value]:
    def get(row: Interface) -> Value:
        counters = row.counters
        return None if counters is None else getattr(counters, one) + getattr(counters, other)

    return get


def _routes(row: Interface) -> Value:
    if row.routes is None:
        return None
    return tuple(f"{one.destination} via {one.gateway}" if one.gateway else one.destination for one in row.routes)


INTERFACES = Layout(
    "interfaces",
    INTERFACE_SCHEMA,
    Interface,
    (
        Column("name", "NAME", "text", "name", None, "name of the interface", lambda i: i.name),
        Column("index", "INDEX", "int", "index", None, "number in its namespace", lambda i: i.index),
        Column("kind", "KIND", "text", "kind", None, "ethernet, bridge, veth, ...", lambda i: i.kind),
        Column("state", "STATE", "text", "state", None, "operational state", lambda i: i.state),
        Column("flags", "FLAGS", "list", "flags", None, "up, running, promiscuous, ...", lambda i: i.flags),
        Column("mac", "MAC", "text", "mac", None, "hardware address", lambda i: i.mac),
        Column("mtu", "MTU", "int", "mtu_bytes", None, "largest packet, bytes", lambda i: i.mtu_bytes),
        Column("speed", "SPEED", "text", "speed_bits_s", None, "of the link, bits a second", _speed),
        Column("speed_bits", "BITS/S", "int", "speed_bits_s", None, "the same as a number", lambda i: i.speed_bits_s),
        Column("duplex", "DUPLEX", "text", "duplex", None, "full or half", lambda i: i.duplex),
        Column("addresses", "ADDRESSES", "list", "addresses", None, "IP addresses and prefix lengths", _addresses),
        Column("controller", "PORT OF", "text", "controller", None, "bridge or bond it is a port of",
               lambda i: i.controller),
        Column("lower", "LOWER", "text", "lower", None, "what it is stacked on, or its other end", lambda i: i.lower),
        Column("peer_index", "PEER", "int", "peer_index", None, "number of that one", lambda i: i.peer_index),
        Column("peer_ns", "PEER NS", "int", "peer_net_ns", None, "network namespace of that one",
               lambda i: i.peer_net_ns),
        Column("vlan", "VLAN", "int", "vlan", None, "VLAN identifier", lambda i: i.vlan),
        Column("wireless", "NETWORK", "text", "wireless", None, "wireless network", lambda i: i.wireless),
        Column("aliases", "ALIASES", "list", "aliases", None, "other names", lambda i: i.aliases),
        Column("routes", "ROUTES", "list", "routes", None, "destinations, and the gateways to them", _routes),
        Column("netns", "NETNS", "int", "net_ns", None, "network namespace", lambda i: i.net_ns),
        _count("received", "RECEIVED", "bytes", "received_bytes", "bytes received"),
        _count("sent", "SENT", "bytes", "sent_bytes", "bytes sent"),
        _count("received_packets", "RX PKTS", "int", "received_packets", "packets received"),
        _count("sent_packets", "TX PKTS", "int", "sent_packets", "packets sent"),
        Column("errors", "ERRORS", "int", "counters", None, "errors, both directions",
               _sum("received_errors", "sent_errors")),
        Column("drops", "DROPS", "int", "counters", None, "dropped packets, both directions",
               _sum("received_drops", "sent_drops")),
        _count("received_errors", "RX ERR", "int", "received_errors", "errors while receiving"),
        _count("sent_errors", "TX ERR", "int", "sent_errors", "errors while sending"),
        _count("received_drops", "RX DROP", "int", "received_drops", "received packets that were dropped"),
        _count("sent_drops", "TX DROP", "int", "sent_drops", "packets dropped instead of sent"),
        _count("multicast", "MCAST", "int", "multicast", "multicast packets received"),
        _count("collisions", "COLL", "int", "collisions", "collisions"),
        _rate("received_rate", "RX/S", "received_bytes_s", "bytes received a second, between two looks"),
        _rate("sent_rate", "TX/S", "sent_bytes_s", "bytes sent a second, between two looks"),
        _rate("received_packet_rate", "RX P/S", "received_packets_s", "packets received a second"),
        _rate("sent_packet_rate", "TX P/S", "sent_packets_s", "packets sent a second"),
        _rate("error_rate", "ERR/S", "errors_s", "errors a second"),
        _rate("drop_rate", "DROP/S", "drops_s", "drops a second"),
        Column("gaps", "GAPS", "list", "gaps", None, "what could not be read",
               lambda i: tuple(f"{gap.field}:{gap.reason}" for gap in i.gaps)),
    ),
    ("name", "kind", "state", "mtu", "speed", "received", "sent", "errors", "drops", "lower", "controller", "netns",
     "addresses"),
)  # fmt: skip

WITH_RATES = (
    "name,kind,state,received_rate,sent_rate,received_packet_rate,sent_packet_rate,error_rate,drop_rate,netns,addresses"
)
"""What is shown when two looks were asked for."""
