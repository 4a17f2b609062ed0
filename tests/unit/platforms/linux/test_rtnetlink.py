"""rtnetlink's messages: made by hand, and arbitrary bytes."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import NativeError
from hostscope.model.interface import InterfaceAddress, Route
from hostscope.platforms.linux import rtnetlink as route
from hostscope.platforms.linux.device_settings import Settings, parse_settings
from hostscope.platforms.linux.interfaces import flag_names


def route_message(*attributes: bytes, family: int = socket.AF_INET, prefix: int = 24, table: int = 254) -> bytes:
    return struct.pack("=8BI", family, prefix, 0, 0, table, 2, 0, 1, 0) + b"".join(attributes)


def test_routes() -> None:
    through = attribute(route.RTA_OIF, struct.pack("=i", 4))
    gateway = attribute(route.RTA_GATEWAY, bytes([192, 0, 2, 1]))
    metric = attribute(route.RTA_PRIORITY, struct.pack("=i", 100))
    network = attribute(route.RTA_DST, bytes([198, 51, 100, 0]))
    assert route.parse_route(route_message(through, gateway, metric, prefix=0)) == [
        (4, Route("0.0.0.0/0", "192.0.2.1", 100))
    ]
    assert route.parse_route(route_message(through, network)) == [(4, Route("198.51.100.0/24"))]
    six = attribute(route.RTA_DST, bytes(15) + b"\1")
    assert route.parse_route(route_message(through, six, family=socket.AF_INET6, prefix=128)) == [(4, Route("::1/128"))]
    via = attribute(route.RTA_VIA, struct.pack("=H", socket.AF_INET6) + bytes(15) + b"\2")
    assert route.parse_route(route_message(through, network, via)) == [(4, Route("198.51.100.0/24", "::2"))]


def test_routes_over_several_hops_and_of_other_tables() -> None:
    gateway = attribute(route.RTA_GATEWAY, bytes([192, 0, 2, 1]))
    hops = b"".join(struct.pack("=HBBi", 8 + len(more), 0, 0, index) + more for index, more in ((4, gateway), (5, b"")))
    several = attribute(route.RTA_MULTIPATH, hops)
    assert route.parse_route(route_message(several, prefix=0)) == [
        (4, Route("0.0.0.0/0", "192.0.2.1")), (5, Route("0.0.0.0/0")),
    ]  # fmt: skip
    table = attribute(route.RTA_TABLE, struct.pack("=i", 1000))
    assert route.parse_route(route_message(several, table)) == []
    assert route.parse_route(route_message(several, table=255)) == []
    assert route.parse_route(b"short") == [] and route.parse_route(route_message(several, family=99)) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_routes_or_none(body: bytes) -> None:
    for index, found in route.parse_route(body + bytes(8)):
        assert index and "/" in found.destination


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def link(*attributes: bytes, index: int = 7, flags: int = 0x10043) -> bytes:
    return struct.pack("=BxHiII", 0, 1, index, flags, 0) + b"".join(attributes)


def test_a_bond_and_one_of_its_ports() -> None:
    named = (
        attribute(route.IFLA_IFNAME, b"bond0\0"),
        attribute(route.IFLA_LINKINFO, attribute(route.INFO_KIND, b"bond\0")),
    )
    bond = route.parse_link(link(*named, index=9, flags=0x11443))
    slave = attribute(route.IFLA_LINKINFO, attribute(4, b"bond\0"))  # IFLA_INFO_SLAVE_KIND: of what it is a port
    port = route.parse_link(
        link(attribute(route.IFLA_IFNAME, b"eth1\0"), attribute(route.IFLA_MASTER, struct.pack("=I", 9)), slave)
    )
    assert bond is not None and port is not None
    assert (bond.name, bond.kind, bond.controller, bond.flags & 0x400) == ("bond0", "bond", None, 0x400)
    assert (port.name, port.kind, port.controller) == ("eth1", None, bond.index)


def test_a_vlan_on_another_device() -> None:
    data = attribute(route.INFO_DATA, attribute(route.VLAN_ID, struct.pack("=H", 42)))
    found = route.parse_link(
        link(
            attribute(route.IFLA_IFNAME, b"eth0.42\0"),
            attribute(route.IFLA_MTU, struct.pack("=I", 1500)),
            attribute(route.IFLA_LINK, struct.pack("=I", 2)),
            attribute(route.IFLA_MASTER, struct.pack("=I", 9)),
            attribute(route.IFLA_OPERSTATE, b"\x06"),
            attribute(route.IFLA_ADDRESS, bytes(range(6))),
            attribute(route.IFLA_LINKINFO, attribute(route.INFO_KIND, b"vlan\0") + data),
            attribute(route.IFLA_STATS64, struct.pack("=10Q", *range(1, 11))),
            attribute(
                route.IFLA_PROP_LIST | 0x8000,
                attribute(route.IFLA_ALT_IFNAME, b"long-name\0") + attribute(route.IFLA_ALT_IFNAME, b"other\0"),
            ),
        )
    )
    assert found is not None
    assert (found.name, found.index, found.kind, found.vlan, found.lower) == ("eth0.42", 7, "vlan", 42, 2)
    assert (found.mtu, found.controller, found.state, found.mac) == (1500, 9, "up", "00:01:02:03:04:05")
    assert found.aliases == ("long-name", "other")
    counters = found.counters
    assert counters is not None
    assert (counters.received_packets, counters.sent_packets) == (1, 2)
    assert (counters.received_bytes, counters.sent_bytes) == (3, 4)
    assert (counters.received_errors, counters.sent_errors, counters.received_drops, counters.sent_drops) == (
        5,
        6,
        7,
        8,
    )
    assert (counters.multicast, counters.collisions) == (9, 10)
    assert flag_names(found) == ("up", "broadcast", "running", "lower-up")


def test_a_packet_socket_makes_an_interface_promiscuous_without_its_flag() -> None:
    found = route.parse_link(link(attribute(route.IFLA_PROMISCUITY, struct.pack("=I", 1))))
    assert found is not None
    assert "promiscuous" in flag_names(found)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {
                route.IFA_ADDRESS: bytes([10, 0, 0, 1]),
                route.IFA_LOCAL: bytes([10, 0, 0, 1]),
                route.IFA_LABEL: b"eth0\0",
            },
            InterfaceAddress("inet", "10.0.0.1", 24, "global", label="eth0"),
        ),
        (
            {route.IFA_ADDRESS: bytes([10, 0, 0, 2]), route.IFA_LOCAL: bytes([10, 0, 0, 1])},
            InterfaceAddress("inet", "10.0.0.1", 24, "global", peer="10.0.0.2"),
        ),
    ],
)
def test_addresses_and_their_peers(attributes: dict[int, bytes], expected: InterfaceAddress) -> None:
    body = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, 3) + b"".join(attribute(*one) for one in attributes.items())
    assert route.parse_address(body) == (3, expected)


def test_an_address_of_an_unknown_family_is_none() -> None:
    assert route.parse_address(struct.pack("=BBBBI", 200, 0, 0, 0, 3) + attribute(1, b"1234")) is None


@given(st.binary(max_size=500))
def test_arbitrary_bytes_never_break_the_parsers(raw: bytes) -> None:
    for message in route.parse_messages(raw):
        assert len(message.body) <= len(raw)
    assert sum(len(value) for _, value in route.parse_attributes(raw)) <= len(raw)
    route.parse_link(raw)
    route.parse_address(raw)
    route.parse_namespace_number(raw)


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3, 4, 5, 10, 16, 18, 23, 30, 37, 52, 53]), st.binary(max_size=90))))
def test_arbitrary_attributes_never_break_a_link(attributes: list[tuple[int, bytes]]) -> None:
    found = route.parse_link(link(*(attribute(*one) for one in attributes)))
    assert found is not None
    assert found.index == 7


@given(st.integers(0, 20))
def test_a_message_cut_short_is_left_out(cut: int) -> None:
    whole = struct.pack("=IHHII", 20, 16, 0, 1, 0) + b"body"
    raw = whole + whole[: len(whole) - cut]
    assert len(list(route.parse_messages(raw))) == (2 if cut == 0 else 1)


def test_the_kernels_refusal_is_raised() -> None:
    with pytest.raises(NativeError) as raised:
        route._raise_error(struct.pack("=i", -1))
    assert raised.value.code == 1
    route._raise_error(struct.pack("=i", 0))  # an acknowledgement


def settings(speed: int, duplex: int) -> Settings:
    raw = struct.pack("=IIIHBBBBBBIIHBBIII", 1, 0, 0, speed & 0xFFFF, duplex, *[0] * 7, speed >> 16, *[0] * 5)
    return parse_settings(raw)


def test_speed_and_duplex() -> None:
    assert settings(100_000, 1) == Settings(100_000_000_000, "full")
    assert settings(10, 0) == Settings(10_000_000, "half")
    unknown = settings(0xFFFF_FFFF, 255)
    assert (unknown.speed_bits_s, unknown.duplex) == (None, None)
    assert [gap.field for gap in unknown.gaps] == ["speed_bits_s"]
