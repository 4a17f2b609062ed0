"""Tables of sockets and adapters, parsed."""

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.windows.native import iphlpapi, netioapi
from hostscope.platforms.windows.native.iphlpapi import AF_INET, AF_INET6
from hostscope.platforms.windows.parse import parse_text
from hostscope.platforms.windows.parse_network import (
    ROWS,
    TCP_STATES,
    Address,
    address_text,
    connection,
    parse_adapters,
    parse_owner_module,
    parse_route,
    parse_sockaddr,
    parse_table,
    port,
)
from tests.unit.platforms.windows.scripted_network import Card, Pool, adapters, sockaddr, table, tcp, udp

STATES = [
    "closed", "listen", "syn-sent", "syn-received", "established", "fin-wait-1", "fin-wait-2", "close-wait", "closing",
    "last-ack", "time-wait", "closed",
]  # fmt: skip
BASE = 0x1_0000_0000


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize(("number", "state"), list(enumerate(STATES, 1)))
def test_all_twelve_states(number: int, state: str, modules: bool) -> None:
    raw = table([tcp(number, ("192.0.2.1", 1000), ("192.0.2.2", 2000), 7)], "tcp", AF_INET, modules)
    (entry,) = parse_table(raw, "tcp", AF_INET, modules).rows
    assert entry.state == state and len(TCP_STATES) == 12


def test_a_state_of_a_later_windows_is_its_number() -> None:
    raw = table([tcp(100, ("192.0.2.1", 1), ("192.0.2.2", 2), 7)], "tcp", AF_INET, False)
    assert parse_table(raw, "tcp", AF_INET, False).rows[0].state == "100"


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize(("local", "remote"), [("192.0.2.1", "198.51.100.7"), ("2001:db8::1", "2001:db8::2")])
def test_connections(local: str, remote: str, modules: bool) -> None:
    family = AF_INET6 if ":" in local else AF_INET
    rows = [tcp(5, (local, 49152), (remote, 443), 77, created=5, tag=9), tcp(2, (local, 80), None, 4)]
    found = parse_table(table(rows, "tcp", family, modules), "tcp", family, modules)
    assert found.missing == 0
    one, listener = found.rows
    assert (address_text(one.local), one.local_port) == (local, 49152)
    assert one.remote is not None and (address_text(one.remote), one.remote_port) == (remote, 443)
    assert (one.pid, one.created, one.service_tag) == (77, 5 * modules, 9 * modules)
    assert listener.remote is None and listener.local_port == 80 and listener.pid == 4


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize("local", ["0.0.0.0", "fe80::1"])
def test_endpoints(local: str, modules: bool) -> None:
    family = AF_INET6 if ":" in local else AF_INET
    raw = table([udp((local, 53), 8, created=3, scope=12)], "udp", family, modules)
    (one,) = parse_table(raw, "udp", family, modules).rows
    assert (one.state, one.remote, one.local_port, one.pid) == (None, None, 53, 8)
    assert one.local_scope == (12 if family == AF_INET6 else 0)


def test_a_table_that_says_more_than_it_has() -> None:
    raw = table([udp(("127.0.0.1", 1), 1)], "udp", AF_INET, False)
    found = parse_table((9).to_bytes(4, "little") + raw[4:], "udp", AF_INET, False)
    assert len(found.rows) == 1 and found.missing == 8


@given(st.binary(max_size=600), st.sampled_from(sorted(ROWS)))
def test_any_bytes_are_a_table_or_none(raw: bytes, kind: tuple[str, int, bool]) -> None:
    found = parse_table(raw, *kind)
    assert len(found.rows) * ctypes.sizeof(ROWS[kind]) <= len(raw)
    assert all(0 <= entry.local_port < 65536 for entry in found.rows)


def test_questions_about_a_connection_have_its_ends() -> None:
    for local, remote, family in (("192.0.2.1", "192.0.2.2", AF_INET), ("2001:db8::1", "2001:db8::2", AF_INET6)):
        raw = table([tcp(5, (local, 1000), (remote, 2000), 7)], "tcp", family, True)
        asked = connection(parse_table(raw, "tcp", family, True).rows[0].row)
        assert port(asked.dwLocalPort) == 1000 and port(asked.dwRemotePort) == 2000
        if isinstance(asked, iphlpapi.MIB_TCP6ROW):
            assert address_text(bytes(asked.RemoteAddr)) == remote and asked.State == 5
        else:
            assert address_text(asked.dwRemoteAddr.to_bytes(4, "little")) == remote and asked.dwState == 5


CARD = Card(
    "Ethernet 2", 12, addresses=(("192.0.2.10", 24), ("fe80::1%12", 64)), servers=("192.0.2.53", "2001:db8::53"),
    gateways=("192.0.2.1",), suffix="corp.example", suffixes=("a.example", "b.example"),
)  # fmt: skip


def test_adapters() -> None:
    found = parse_adapters(adapters([CARD, Card("Löopback", 1, type=24)], BASE), BASE)
    assert [one.name for one in found] == ["Ethernet 2", "Löopback"]
    first = found[0]
    assert first.addresses == (Address("192.0.2.10", 24, 0, 0), Address("fe80::1", 64, 12, 0))
    assert [one.text for one in first.dns_servers] == ["192.0.2.53", "2001:db8::53"]
    assert [one.text for one in first.gateways] == ["192.0.2.1"]
    assert (first.suffix, first.suffixes) == ("corp.example", ("a.example", "b.example"))
    assert first.guid.startswith("{") and first.mac.hex() == "020000000001" and first.index == 12


def test_a_list_that_leads_in_a_circle_ends() -> None:
    raw = bytearray(adapters([CARD], BASE))
    at = netioapi.IP_ADAPTER_ADDRESSES_LH.Next.offset
    raw[at : at + 8] = BASE.to_bytes(8, "little")
    assert 1 < len(parse_adapters(bytes(raw), BASE)) <= 4096


@given(st.data())
def test_pointers_anywhere_read_nothing_else(data: st.DataObject) -> None:
    raw = bytearray(adapters([CARD], BASE))
    for _ in range(data.draw(st.integers(1, 20))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for one in parse_adapters(bytes(raw[:cut]), BASE)[:50]:
        assert len(one.name) <= 2048


@given(st.binary(max_size=200), st.integers(0, 255))
def test_any_bytes_are_an_address_or_none(raw: bytes, prefix: int) -> None:
    found = parse_sockaddr(raw, prefix)
    assert found is None or found.prefix <= (128 if ":" in found.text else 32)


def test_addresses() -> None:
    assert parse_sockaddr(sockaddr("192.0.2.1", 53), 24) == Address("192.0.2.1", 24, 0, 53)
    assert parse_sockaddr(sockaddr("fe80::1%7"), 64) == Address("fe80::1", 64, 7, 0)
    assert parse_sockaddr(b"\x01\x00" + bytes(30)) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_text(raw: bytes) -> None:
    assert "\0" not in parse_text(raw)


def test_owner_modules() -> None:
    pool = Pool(BASE)
    head = pool.put(bytes(16))
    name, path = pool.text("Dnscache"), pool.text("C:\\Windows\\System32\\svchost.exe")
    pool.raw[:16] = bytes(iphlpapi.TCPIP_OWNER_MODULE_BASIC_INFO(name, path))
    assert head == BASE
    assert parse_owner_module(bytes(pool.raw), BASE) == ("Dnscache", "C:\\Windows\\System32\\svchost.exe")
    assert parse_owner_module(bytes(pool.raw)[:15], BASE) == ("", "")


def test_routes() -> None:
    row = netioapi.MIB_IPFORWARD_ROW2(InterfaceIndex=4, Metric=25)
    ctypes.memmove(ctypes.addressof(row.DestinationPrefix.Prefix), sockaddr("192.0.2.0"), 16)
    row.DestinationPrefix.PrefixLength = 24
    ctypes.memmove(ctypes.addressof(row.NextHop), sockaddr("0.0.0.0"), 16)
    direct = parse_route(row)
    assert direct is not None and direct.gateway is None
    assert (direct.destination.text, direct.destination.prefix, direct.interface) == ("192.0.2.0", 24, 4)
    ctypes.memmove(ctypes.addressof(row.NextHop), sockaddr("192.0.2.1"), 16)
    through = parse_route(row)
    assert through is not None and through.gateway is not None and through.gateway.text == "192.0.2.1"
    assert parse_route(netioapi.MIB_IPFORWARD_ROW2()) is None
