"""Interfaces and resolvers of Windows, on scripted adapters and a scripted registry."""

from collections.abc import Callable
from typing import Any

import pytest

from hostscope.errors import NativeError
from hostscope.model.dns import Resolver
from hostscope.model.gap import Reason
from hostscope.model.interface import Interface, InterfaceAddress, Route
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import dns_registry
from hostscope.platforms.windows.interfaces import Interfaces
from hostscope.platforms.windows.native import iphlpapi, netioapi, registry
from hostscope.platforms.windows.resolvers import Resolvers
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.scripted_network import Card, Stack, route

GUID = "{4D36E972-E325-11CE-BFC1-08002BE10318}"
Keys = dict[str, dict[str, tuple[int, bytes]]]
LAN = Card(
    "Ethernet", 12, addresses=(("192.0.2.10", 24), ("fe80::1%12", 64), ("2001:db8::10", 64), ("169.254.1.1", 16)),
    servers=("192.0.2.53", "fe80::53%12"), suffix="lan.example", suffixes=("more.example",), guid=GUID,
)  # fmt: skip
LOOPBACK = Card(
    "Loopback Pseudo-Interface 1", 1, type=24, addresses=(("127.0.0.1", 8), ("::1", 128)), mac=b"", mtu=2**32 - 1,
    speed=1_073_741_824, servers=("fec0:0:0:ffff::1",), metric=75,
)  # fmt: skip
WLAN = Card("Wi-Fi", 13, type=71, state=2, speed=2**64 - 1, flags=0x10, servers=("192.0.2.99",))
COUNTS = {
    "AdminStatus": 1, "AccessType": 2, "InOctets": 1000, "OutOctets": 2000, "InUcastPkts": 10, "InNUcastPkts": 5,
    "OutUcastPkts": 7, "OutNUcastPkts": 1, "InErrors": 3, "OutErrors": 4, "InDiscards": 6, "OutDiscards": 8,
}  # fmt: skip


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    made = Stack([LAN, LOOPBACK, WLAN], {12: COUNTS, 1: {"AdminStatus": 1, "AccessType": 1}})
    functions: dict[str, Callable[..., Any]] = {
        "GetAdaptersAddresses": made.ask_adapters, "GetIfEntry2": made.ask_interface,
        "GetIpForwardTable2": made.ask_routes, "FreeMibTable": made.free,
    }  # fmt: skip
    script(monkeypatch, netioapi.iphlpapi, **functions)
    return made


def interfaces(tally: Tally | None = None) -> list[Interface]:
    return list(Interfaces().interfaces(tally or Tally()))


def test_interfaces(stack: Stack) -> None:
    tally = Tally()
    lan, *_ = interfaces(tally)
    assert (lan.name, lan.index, lan.kind, lan.state) == ("Ethernet", 12, "ethernet", "up")
    assert lan.flags == ("up", "running", "multicast", "broadcast")
    assert (lan.mac, lan.mtu_bytes, lan.speed_bits_s) == ("02:00:00:00:00:01", 1500, 1_000_000_000)
    assert lan.aliases == ("Ethernet Adapter", GUID)
    assert lan.addresses == (
        InterfaceAddress("inet", "192.0.2.10", 24, "global", broadcast="192.0.2.255"),
        InterfaceAddress("inet6", "fe80::1", 64, "link"),
        InterfaceAddress("inet6", "2001:db8::10", 64, "global"),
        InterfaceAddress("inet", "169.254.1.1", 16, "link", broadcast="169.254.255.255"),
    )
    assert lan.counters is not None
    assert (lan.counters.received_bytes, lan.counters.sent_bytes) == (1000, 2000)
    assert (lan.counters.received_packets, lan.counters.sent_packets) == (15, 8)
    assert (lan.counters.received_errors, lan.counters.sent_errors) == (3, 4)
    assert (lan.counters.received_drops, lan.counters.sent_drops) == (6, 8)
    assert tally.seen == 3 and stack.calls == ["adapters", "routes", "free", "interface", "interface", "interface"]


def test_loopback_has_no_limit_and_no_hardware(stack: Stack) -> None:
    loopback = interfaces()[1]
    assert (loopback.kind, loopback.mac, loopback.mtu_bytes, loopback.gaps) == ("loopback", None, None, ())
    assert [one.scope for one in loopback.addresses] == ["host", "host"]
    assert loopback.flags == ("up", "running", "loopback", "multicast")


def test_counters_that_are_not_told_are_a_gap(stack: Stack) -> None:
    wlan = interfaces()[2]
    assert wlan.counters is None and wlan.speed_bits_s is None and wlan.state == "down"
    assert {gap.field: gap.reason for gap in wlan.gaps} == {
        "counters": Reason.UNAVAILABLE,
        "wireless": Reason.UNSUPPORTED,
    }
    assert wlan.flags == ()


def test_routes(stack: Stack) -> None:
    stack.routes = [
        route("0.0.0.0", 0, "192.0.2.1", 12, 25), route("192.0.2.0", 24, "0.0.0.0", 12, 5),
        route("192.0.2.10", 32, "0.0.0.0", 12), route("192.0.2.255", 32, "0.0.0.0", 12),
        route("255.255.255.255", 32, "0.0.0.0", 12), route("224.0.0.0", 4, "0.0.0.0", 12),
        route("198.51.100.7", 32, "192.0.2.9", 12, 30), route("::", 0, "fe80::9%12", 12, 40),
        route("ff00::", 8, "::", 12), route("127.0.0.0", 8, "0.0.0.0", 1),
    ]  # fmt: skip
    lan, loopback, wlan = interfaces()
    assert lan.routes == (
        Route("192.0.2.0/24", None, 5), Route("0.0.0.0/0", "192.0.2.1", 25),
        Route("198.51.100.7/32", "192.0.2.9", 30), Route("::/0", "fe80::9", 40),
    )  # fmt: skip
    assert loopback.routes == (Route("127.0.0.0/8", None, 0),) and wlan.routes == ()


def test_routes_that_are_refused_or_not_there(stack: Stack) -> None:
    stack.refuse_routes = 5
    assert [row.routes for row in interfaces()] == [None] * 3
    assert {gap.field: gap.reason for gap in interfaces()[1].gaps} == {"routes": Reason.DENIED}
    stack.refuse_routes = iphlpapi.ERROR_NOT_FOUND
    assert [row.routes for row in interfaces()] == [()] * 3


def test_no_adapters_at_all(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    none = {"GetAdaptersAddresses": lambda *_: iphlpapi.ERROR_NO_DATA, "GetIpForwardTable2": lambda *_: 232}
    script(monkeypatch, netioapi.iphlpapi, **none)
    assert not interfaces() and not list(Resolvers().resolvers(Tally()))


def test_adapters_that_may_not_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, netioapi.iphlpapi, GetAdaptersAddresses=lambda *_: 1000)
    with pytest.raises(NativeError, match="1000"):
        interfaces()


# Resolvers ------------------------------------------------------------------------------------------------------------


def sz(text: str) -> tuple[int, bytes]:
    return 1, text.encode("utf-16-le") + b"\0\0"


def multi(*texts: str) -> tuple[int, bytes]:
    return 7, "".join(f"{text}\0" for text in texts).encode("utf-16-le") + b"\0\0"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keys:
    """The registry: path below HKLM -> values; what is not in it is not there."""
    found: Keys = {}
    handles: list[str] = []

    def open_key(root: int, path: str, options: int, access: int, handle: Any) -> int:
        if not any(key == path or key.startswith(f"{path}\\") for key in found):
            return registry.ERROR_FILE_NOT_FOUND
        handles.append(path)
        handle._obj.value = len(handles)
        return 0

    def query(key: int, name: str, reserved: Any, kind: Any, buffer: Any, size: Any) -> int:
        value = found.get(handles[key - 1], {}).get(name)
        if value is None:
            return registry.ERROR_FILE_NOT_FOUND
        kind._obj.value, raw = value
        buffer[: len(raw)], size._obj.value = raw, len(raw)
        return 0

    def enumerate_key(key: int, index: int, units: Any, size: Any, *_: Any) -> int:
        prefix = f"{handles[key - 1]}\\"
        names = sorted({one.removeprefix(prefix).partition("\\")[0] for one in found if one.startswith(prefix)})
        if index >= len(names):
            return registry.ERROR_NO_MORE_ITEMS
        units[: len(names[index]) + 1] = [*map(ord, names[index]), 0]
        return 0

    functions: dict[str, Callable[..., int]] = {
        "RegOpenKeyExW": open_key, "RegQueryValueExW": query, "RegEnumKeyExW": enumerate_key,
        "RegCloseKey": lambda _: 0,
    }  # fmt: skip
    script(monkeypatch, registry.advapi32, **functions)
    return found


def below(path: str) -> str:
    return path.removeprefix("HKLM\\")


def resolvers(tally: Tally | None = None) -> list[Resolver]:
    return list(Resolvers().resolvers(tally or Tally()))


def test_servers_of_adapters_that_are_up(stack: Stack, keys: Keys) -> None:
    keys[below(dns_registry.PARAMETERS)] = {"Domain": sz("corp.example")}
    keys[below(f"{dns_registry.PARAMETERS}\\Interfaces\\{GUID}")] = {"DhcpNameServer": sz("192.0.2.53 192.0.2.54")}
    tally = Tally()
    first, second, placeholder = resolvers(tally)
    assert (first.address, first.port, first.source, first.interface) == ("192.0.2.53", 53, "adapter", "Ethernet")
    assert second.address == "fe80::53%12" and first.options == ("dhcp",) and first.priority == 25
    assert first.search == ("corp.example", "lan.example", "more.example")
    assert placeholder.fallback and placeholder.interface == LOOPBACK.name and not first.fallback
    assert not tally.notes


def test_a_list_for_all_connections_replaces_theirs(stack: Stack, keys: Keys) -> None:
    keys[below(dns_registry.PARAMETERS)] = {"SearchList": sz("a.example,b.example"), "Domain": sz("corp.example")}
    assert resolvers()[0].search == ("a.example", "b.example")
    keys[below(dns_registry.POLICIES)] = {"SearchList": sz("policy.example")}
    assert resolvers()[0].search == ("policy.example",)


def test_servers_that_somebody_wrote_down(stack: Stack, keys: Keys) -> None:
    keys[below(f"{dns_registry.PARAMETERS}\\Interfaces\\{GUID}")] = {
        "NameServer": sz("192.0.2.53"), "DhcpNameServer": sz("192.0.2.1"),
    }  # fmt: skip
    assert resolvers()[0].options == ("static",)


def test_rules_come_first_and_a_policys_replace_the_local_ones(stack: Stack, keys: Keys) -> None:
    policy, local = (below(path) for path in dns_registry.RULES)
    keys[f"{local}\\{{1}}"] = {"Name": multi(".vpn.example", "host.example"), "GenericDNSServers": sz("127.0.0.1; ::1")}
    keys[f"{local}\\{{2}}"] = {"Name": multi(".nowhere.example")}
    first, second, *_ = resolvers()
    assert (first.address, first.source, first.routes) == ("127.0.0.1", "policy-rule", (".vpn.example", "host.example"))
    assert first.stub and second.address == "::1" and first.path is not None and first.path.endswith("\\{1}")
    keys[f"{policy}\\rule"] = {"Name": sz(".corp.example"), "GenericDNSServers": sz("192.0.2.77")}
    assert [row.address for row in resolvers() if row.source == "policy-rule"] == ["192.0.2.77"]


def test_servers_that_are_asked_over_https(stack: Stack, keys: Keys) -> None:
    place = f"{below(dns_registry.CACHE)}\\InterfaceSpecificParameters\\{GUID}\\DohInterfaceSettings\\Doh\\192.0.2.53"
    keys[place] = {"DohFlags": (11, (2).to_bytes(8, "little")), "DohTemplate": sz("https://dns.example/dns-query")}
    first, second, _ = resolvers()
    assert (first.protocol, first.server_name) == ("dns-over-https", "https://dns.example/dns-query")
    assert (second.protocol, second.server_name) == ("dns", None)
    keys[place] = {"DohFlags": (11, bytes(8))}
    assert resolvers()[0].protocol == "dns"
    keys[place] = {"DohFlags": (4, b"\1")}  # makes no sense
    assert resolvers()[0].protocol == "dns"


def test_a_registry_that_refuses_is_said(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, registry.advapi32, RegOpenKeyExW=lambda *_: 5)
    tally = Tally()
    assert [row.address for row in resolvers(tally)] == ["192.0.2.53", "fe80::53%12", "fec0:0:0:ffff::1"]
    assert tally.failed == 5 and any("Name Resolution Policy Table" in note for note in tally.notes)
