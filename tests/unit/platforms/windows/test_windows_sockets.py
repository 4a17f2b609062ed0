"""Sockets and their owners, on scripted tables."""

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from hostscope.errors import Denied, NativeError, Unsupported, UsageError
from hostscope.model.gap import Reason
from hostscope.model.socket import FAMILIES, Endpoint, Socket, SocketRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import sockets
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.native import iphlpapi, netioapi, ntdll
from hostscope.platforms.windows.sockets import Sockets
from tests.unit.platforms.windows.scripted import BOOTED, Program, System, script
from tests.unit.platforms.windows.scripted_network import Card, Pool, Stack, Tables, tcp, udp

BOOT = Boot("boot", 0)
SECOND = 10_000_000
PROGRAMS = (Program(0, "", threads=()), Program(4, "System"), Program(70, "web.exe", created=BOOTED + SECOND))
LISTENER = tcp(2, ("0.0.0.0", 80), None, 70, created=BOOTED + 2 * SECOND)
SERVED = tcp(5, ("192.0.2.1", 80), ("198.51.100.7", 50000), 70, created=BOOTED + 3 * SECOND)
ASKING = tcp(5, ("192.0.2.1", 49152), ("198.51.100.7", 443), 70, created=BOOTED + 3 * SECOND)
Script = Callable[..., Tables]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Installs tables; the processes are PROGRAMS."""

    def install(*rows: dict[str, Any], **options: Any) -> Tables:
        tables = Tables([row for row in rows if "state" in row], [row for row in rows if "state" not in row], **options)
        script(monkeypatch, ntdll.ntdll, NtQuerySystemInformation=System(PROGRAMS))
        functions: dict[str, Any] = {"GetExtendedTcpTable": tables.ask_tcp, "GetExtendedUdpTable": tables.ask_udp}
        script(monkeypatch, iphlpapi.iphlpapi, **functions)
        return tables

    return install


def sweep(tally: Tally | None = None, **request: Any) -> list[Socket]:
    asked = SocketRequest(**{"tcp_details": False, **request})
    return list(Sockets(BOOT).sweep(asked, tally or Tally()))


def test_owners_are_keys(scripted: Script) -> None:
    scripted(LISTENER)
    tally = Tally()
    (row,) = sweep(tally)
    assert row.owners and row.owners[0].key == BOOT.key(70, BOOTED + SECOND) and row.owners[0].name == "web.exe"
    assert row.local == Endpoint("0.0.0.0", 80) and row.remote is None and row.direction == "listening"
    assert (tally.seen, tally.method, tally.method_reason) == (1, "owner-module", None)
    assert not row.gaps


def test_directions(scripted: Script) -> None:
    scripted(LISTENER, SERVED, ASKING)
    assert [row.direction for row in sweep()] == ["listening", "inbound", "outbound"]


def test_a_listener_of_another_address_or_family_makes_nothing_inbound(scripted: Script) -> None:
    scripted(
        tcp(2, ("127.0.0.1", 80), None, 70), tcp(2, ("::", 80), None, 70),
        tcp(5, ("192.0.2.1", 80), ("198.51.100.7", 443), 70),
    )  # fmt: skip
    assert [row.direction for row in sweep(states=frozenset({"established"}))] == ["outbound"]


def test_a_pid_of_nobody_is_a_gap_unless_nobody_can_hold_it(scripted: Script) -> None:
    ends = (("192.0.2.1", 80), ("198.51.100.7", 1))
    scripted(tcp(11, *ends, 0), tcp(5, *ends, 0), tcp(5, *ends, 71))
    waiting, nameless, gone = sweep()
    assert waiting.owners == () and not waiting.gaps
    assert nameless.owners is None and nameless.gaps[0].reason is Reason.UNAVAILABLE
    assert gone.owners is None and gone.gaps[0].reason is Reason.GONE and "71 has ended" in str(gone.gaps[0].detail)


def test_a_socket_that_is_older_than_the_process_with_its_pid_is_not_its(scripted: Script) -> None:
    scripted({**LISTENER, "created": BOOTED})
    (row,) = sweep()
    assert row.owners is None and row.gaps[0].reason is Reason.GONE


def test_udp_has_no_state(scripted: Script) -> None:
    scripted(udp(("0.0.0.0", 53), 70), udp(("::", 53), 70))
    rows = sweep(states=frozenset({"listen", "unconnected"}))
    assert [(row.family, row.state, row.remote, row.kind) for row in rows] == [
        ("inet", None, None, "dgram"), ("inet6", None, None, "dgram"),
    ]  # fmt: skip
    assert {gap.field for gap in rows[0].gaps} == {"state", "remote"}
    assert not sweep(states=frozenset({"established", "connected"}))


def test_families_that_windows_does_not_list(scripted: Script) -> None:
    scripted(LISTENER)
    with pytest.raises(Unsupported, match="neither UNIX"):
        sweep(families=frozenset({"unix"}))
    tally = Tally()
    assert len(sweep(tally, families=FAMILIES)) == 1 and "neither UNIX" in tally.notes[0]
    assert not sweep(families=frozenset({"inet6"}))


def test_methods(scripted: Script) -> None:
    tables = scripted(LISTENER, refuse_modules=50)
    tally = Tally()
    assert len(sweep(tally)) == 1 and tally.method == "owner-pid"
    assert tally.method_reason is not None and "error 50" in tally.method_reason
    with pytest.raises(NativeError):
        sweep(method="owner-module")
    tables.refuse_modules = 5
    with pytest.raises(Denied):
        sweep(method="owner-module")
    with pytest.raises(UsageError, match="no method 'diag'"):
        sweep(method="diag")
    (row,) = sweep(method="owner-pid", age=True)
    assert row.age_ns is None and row.gaps[0].reason is Reason.UNSUPPORTED


def test_tables_that_grow_while_they_are_asked_for(scripted: Script) -> None:
    tables = scripted(LISTENER, grows=3)
    assert len(sweep()) == 1
    sizes = [size for *_, size in tables.calls[:4]]
    assert sizes == sorted(sizes) and sizes[3] > sizes[0]


def test_tables_that_never_stop_growing_are_an_error(scripted: Script) -> None:
    tables = scripted(LISTENER, grows=1000)
    with pytest.raises(NativeError):
        sweep(method="owner-pid")
    assert len(tables.calls) < 20


def test_ages(scripted: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(LISTENER, {**ASKING, "created": 0})
    now = sockets.filetime_ns(LISTENER["created"]) + 5_000_000_000
    monkeypatch.setattr(sockets, "time_ns", lambda: now)
    aged, untold = sweep(age=True)
    assert aged.age_ns == 5_000_000_000
    assert untold.age_ns is None and untold.gaps[0].reason is Reason.UNAVAILABLE


def test_owners_of_ports(scripted: Script) -> None:
    scripted(
        tcp(5, ("192.0.2.1", 80), ("198.51.100.7", 1), 9), LISTENER, udp(("0.0.0.0", 80), 80),
        tcp(11, ("192.0.2.1", 80), ("192.0.2.2", 1), 0),
    )  # fmt: skip
    assert Sockets(BOOT).owners(80) == (70, 80, 9)
    assert Sockets(BOOT).owners(81) == ()


def test_link_local_sockets_have_their_interface(scripted: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(udp(("fe80::1", 546), 70, scope=12), udp(("fe80::1", 546), 70, scope=13), udp(("::1", 1), 70, scope=4096))
    script(monkeypatch, netioapi.iphlpapi, GetAdaptersAddresses=Stack([Card("Ethernet", 12)]).ask_adapters)
    known, unknown, loopback = sweep()
    assert known.interface == "Ethernet" and unknown.interface is None and loopback.interface is None
    assert [gap.field for gap in unknown.gaps] == ["state", "remote", "interface"]
    assert [gap.field for gap in loopback.gaps] == ["state", "remote"]


# Statistics -----------------------------------------------------------------------------------------------------------


class Stats:
    """GetPerTcp[6]ConnectionEStats."""

    def __init__(self, collects: bool, code: int = 0) -> None:
        self.collects, self.code, self.calls = collects, code, 0

    def __call__(
        self, row: Any, kind: int, switch: Any, a: int, b: int, c: Any, d: int, e: int, found: Any, *_: int
    ) -> int:
        self.calls += 1
        if self.code:
            return self.code
        switch._obj.EnableCollection = self.collects
        if kind == iphlpapi.TcpConnectionEstatsData:
            found._obj.DataBytesOut, found._obj.ThruBytesAcked, found._obj.ThruBytesReceived = 1000, 900, 5000
        else:
            found._obj.SmoothedRtt, found._obj.RttVar, found._obj.CountRtt, found._obj.PktsRetrans = 20, 5, 3, 2
            found._obj.CurMss = 1460
        return 0


@pytest.fixture
def estats(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stats], Stats]:
    def install(stats: Stats) -> Stats:
        names = ("GetPerTcpConnectionEStats", "GetPerTcp6ConnectionEStats")
        script(monkeypatch, iphlpapi.iphlpapi, **dict.fromkeys(names, stats))
        return stats

    return install


def test_statistics_where_they_are_collected(scripted: Script, estats: Callable[[Stats], Stats]) -> None:
    scripted(ASKING, tcp(5, ("2001:db8::1", 1), ("2001:db8::2", 2), 70), LISTENER)
    stats = estats(Stats(collects=True))
    four, listener, six = sweep(tcp_details=True)
    assert four.tcp == six.tcp and four.tcp is not None and listener.tcp is None
    assert (four.tcp.rtt_ns, four.tcp.rtt_variation_ns, four.tcp.retransmits) == (20_000_000, 5_000_000, 2)
    assert (four.tcp.sent_bytes, four.tcp.acked_bytes, four.tcp.received_bytes) == (1000, 900, 5000)
    assert stats.calls == 4 and "SetPerTcpConnectionEStats" not in iphlpapi.SIGNATURES


def test_statistics_that_are_not_collected_are_a_gap(scripted: Script, estats: Callable[[Stats], Stats]) -> None:
    scripted(ASKING)
    estats(Stats(collects=False))
    (row,) = sweep(tcp_details=True)
    assert row.tcp is None and row.gaps[0].reason is Reason.UNSUPPORTED and "turns that on" in str(row.gaps[0].detail)


@pytest.mark.parametrize(("code", "reason"), [(5, Reason.DENIED), (1168, Reason.GONE), (31, Reason.UNAVAILABLE)])
def test_statistics_that_are_refused(
    scripted: Script, estats: Callable[[Stats], Stats], code: int, reason: Reason
) -> None:
    scripted(ASKING)
    estats(Stats(collects=True, code=code))
    (row,) = sweep(tcp_details=True)
    assert row.tcp is None and row.gaps[0].reason is reason


def test_statistics_that_this_windows_lacks_are_asked_for_once(
    scripted: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(ASKING, SERVED)
    asked: list[str] = []

    def missing(*_: Any) -> int:
        asked.append("once")
        raise Unsupported("iphlpapi has no such thing")

    script(monkeypatch, iphlpapi.iphlpapi, GetPerTcpConnectionEStats=missing)
    assert [row.gaps[0].reason for row in sweep(tcp_details=True)] == [Reason.UNSUPPORTED] * 2 and asked == ["once"]


# Services -------------------------------------------------------------------------------------------------------------


def test_services_of_a_host_process(scripted: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(
        {**LISTENER, "tag": 5}, {**ASKING, "tag": 5}, {**SERVED, "tag": 6},
        tcp(2, ("0.0.0.0", 81), None, 4, tag=0),
    )  # fmt: skip
    asked: list[int] = []

    def name_of(row: Any, kind: int, buffer: Any, size: Any) -> int:
        tag = row.OwningModuleInfo[0]
        asked.append(tag)
        pool = Pool(ctypes.addressof(buffer))
        pool.put(bytes(16))
        name = pool.text("Dnscache" if tag == 5 else "WEB.EXE")
        pool.raw[:16] = bytes(iphlpapi.TCPIP_OWNER_MODULE_BASIC_INFO(name, name))
        ctypes.memmove(buffer, bytes(pool.raw), len(pool.raw))
        return 0

    script(monkeypatch, iphlpapi.iphlpapi, GetOwnerModuleFromTcpEntry=name_of)
    names = [row.owners[0].service if row.owners else "?" for row in sweep()]
    assert names == ["Dnscache", "Dnscache", None, None] and asked == [5, 6]


def test_services_that_are_not_told_are_a_note(scripted: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted({**LISTENER, "tag": 5})
    script(monkeypatch, iphlpapi.iphlpapi, GetOwnerModuleFromTcpEntry=lambda *_: 5)
    tally = Tally()
    (row,) = sweep(tally)
    assert row.owners and row.owners[0].service is None and "error 5" in tally.notes[0]
