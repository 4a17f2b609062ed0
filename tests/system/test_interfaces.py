"""Interfaces of this host and of namespaces, against iproute2."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from hostscope.model.gap import Reason
from hostscope.model.interface import Interface
from hostscope.platforms.linux.interfaces import Interfaces
from hostscope.platforms.tally import Tally
from tests.system.commands import need
from tests.system.links import Pair, ip, pair

pytestmark = pytest.mark.system

OURS = os.stat("/proc/self/ns/net").st_ino
THEIR_FLAGS = {
    "UP": "up", "BROADCAST": "broadcast", "LOOPBACK": "loopback", "POINTOPOINT": "point-to-point", "NOARP": "no-arp",
    "PROMISC": "promiscuous", "MULTICAST": "multicast", "LOWER_UP": "lower-up",
}  # fmt: skip
"""As iproute2 spells them. It shows RUNNING only by its absence (NO-CARRIER)."""


def found(net_ns: int | None = OURS) -> dict[str, Interface]:
    return {row.name: row for row in Interfaces().interfaces(Tally()) if row.net_ns == net_ns}


def theirs(*options: str) -> dict[str, dict[str, Any]]:
    need("ip", "iproute2")
    return {row["ifname"]: row for row in json.loads(ip(*options))}


def test_names_kinds_states_and_sizes_are_iproute2s() -> None:
    expected, rows = theirs("-s", "-d", "-j", "link"), found()
    assert rows.keys() == expected.keys()
    for name, row in rows.items():
        link = expected[name]
        assert (row.index, row.mtu_bytes, row.mac) == (link["ifindex"], link["mtu"], link.get("address")), name
        assert (row.state or "").upper().replace("-", "") == link["operstate"].replace("_", "").replace("-", ""), name
        kind = link.get("linkinfo", {}).get("info_kind")
        assert kind is None or row.kind == kind, name
        assert row.controller == link.get("master"), name
        shown = {THEIR_FLAGS[flag] for flag in link["flags"] if flag in THEIR_FLAGS}
        assert shown == set(row.flags) & set(THEIR_FLAGS.values()) - ({"promiscuous"} - shown), name


def test_addresses_are_iproute2s() -> None:
    expected, rows = theirs("-j", "addr"), found()
    for name, row in rows.items():
        theirs_ = {(one["family"], one["local"], one["prefixlen"]) for one in expected[name]["addr_info"]}
        assert {(one.family, one.address, one.prefix) for one in row.addresses} == theirs_, name


def test_routes_are_iproute2s() -> None:
    for option in ("-4", "-6"):
        listed = json.loads(ip(option, "-j", "route", "show", "table", "main"))
        wanted = {(one["dev"], one["dst"].partition("/")[0], one.get("gateway")) for one in listed if "dev" in one}
        shown = {
            (name, _as_ip_has_it(route.destination), route.gateway)
            for name, row in found().items()
            for route in row.routes or ()
            if (":" in route.destination) == (option == "-6")
        }
        assert shown == wanted


def _as_ip_has_it(destination: str) -> str:
    return "default" if destination.endswith("/0") else destination.partition("/")[0]


def test_more_routes_than_are_read_are_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostscope.platforms.linux.rtnetlink.MOST_ROUTES", 0)
    assert all(row.routes is None and row.gaps[-1].field == "routes" for row in found().values())


def test_counters_lie_between_two_looks_of_iproute2() -> None:
    before, rows, after = theirs("-s", "-j", "link"), found(), theirs("-s", "-j", "link")
    for name, row in rows.items():
        counters = row.counters
        assert counters is not None
        for way, ours in (("rx", counters.received_bytes), ("tx", counters.sent_bytes)):
            assert before[name]["stats64"][way]["bytes"] <= ours <= after[name]["stats64"][way]["bytes"], name
        for way, ours in (("rx", counters.received_packets), ("tx", counters.sent_packets)):
            assert before[name]["stats64"][way]["packets"] <= ours <= after[name]["stats64"][way]["packets"], name


@pytest.fixture
def cable() -> Iterator[Pair]:
    with pair("hi") as made:
        yield made


@pytest.mark.root
def test_both_ends_of_a_pair_name_each_other_across_namespaces(cable: Pair) -> None:
    inside = os.stat(f"/run/netns/{cable.namespace}").st_ino
    near, far = found()[cable.near], found(inside)[cable.far]
    assert (near.kind, far.kind, near.state, far.state) == ("veth", "veth", "up", "up")
    assert (near.lower, near.peer_index, near.peer_net_ns) == (far.name, far.index, inside)
    assert (far.lower, far.peer_index, far.peer_net_ns) == (near.name, near.index, OURS)
    assert [one.address for one in far.addresses if one.family == "inet"] == [cable.far_address]


@pytest.mark.root
def test_ports_of_a_bridge_name_it_and_other_names_are_shown(cable: Pair) -> None:
    bridge = cable.near[:-1] + "br"
    ip("link", "add", bridge, "type", "bridge")
    try:
        ip("link", "set", cable.near, "master", bridge)
        ip("link", "property", "add", "dev", cable.near, "altname", f"{bridge}-another-long-name")
        rows = found()
        assert rows[bridge].kind == "bridge"
        assert rows[cable.near].controller == bridge
        assert rows[cable.near].aliases == (f"{bridge}-another-long-name",)
        assert "promiscuous" in rows[cable.near].flags, "a bridge makes its ports so"
    finally:
        ip("link", "del", bridge)


@pytest.mark.root
def test_speed_is_the_drivers() -> None:
    with pair("hs", "10.213.8") as cable:
        assert (found()[cable.near].speed_bits_s, found()[cable.near].duplex) == (10_000_000_000, "full")


@pytest.mark.root
def test_who_may_not_enter_other_namespaces_sees_ours_and_is_told(cable: Pair) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # in a process of its own: capabilities do not come back
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        tally = Tally()
        near = next(row for row in Interfaces().interfaces(tally) if row.name == cable.near)
        gaps = {gap.field: gap.reason for gap in near.gaps}
        os.write(write, f"{tally.denied > 0} {near.peer_net_ns} {gaps.get('peer_net_ns')}".encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        assert answer.read().decode() == f"True None {Reason.UNAVAILABLE}"
    os.waitpid(child, 0)
