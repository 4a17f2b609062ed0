"""Traffic by the kernel's events, from EVENT_RECORDs to the reading."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from hostscope.errors import Denied, Unavailable, UsageError
from hostscope.model.interface import Interface, InterfaceAddress, InterfaceCounters
from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts, Flow, Reading, TrafficRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import etw_flows, etw_meter
from hostscope.platforms.windows.clock import Boot, filetime_ns
from hostscope.platforms.windows.etw_flows import EtwFlows
from hostscope.platforms.windows.etw_processes import People
from hostscope.platforms.windows.native import etw, ntdll
from hostscope.platforms.windows.parse_etw import DNS_CLIENT, KERNEL_NETWORK, KERNEL_PROCESS
from hostscope.platforms.windows.parse_processes import Listed
from hostscope.platforms.windows.traffic import Traffic
from tests.unit.platforms.windows.scripted import BOOTED, Program, System, script
from tests.unit.platforms.windows.scripted_etw import STAMP, Tracing, dns_answer, event, network, plain, process_start

BOOT = Boot("boot", 0)
HERE, THERE = (bytes([192, 0, 2, 1]), 49152), (bytes([198, 51, 100, 7]), 443)
LOOP = (bytes([127, 0, 0, 1]), 5000)
SENT, RECEIVED, CONNECTED, GONE, ACCEPTED = 10, 11, 12, 13, 15


def listed(pid: int, name: str, created: int = BOOTED) -> Listed:
    return Listed(pid, 0, name, created, 1, 0, 8, 1, b"")


def flows_of(*people: Listed, most: int = 100, connections: bool = False) -> EtwFlows:
    return EtwFlows(People(BOOT, lambda: people), [HERE[0], LOOP[0]], most, connections, names=True)


def feed(flows: EtwFlows, number: int, size: int = 0, pid: int = 70, at: int = STAMP, **ends: Any) -> None:
    here, there = ends.get("here", HERE), ends.get("there", THERE)
    flows.feed(plain(KERNEL_NETWORK, number, network(pid, size, here, there), filetime=at))


def test_bytes_and_calls_add_up() -> None:
    flows = flows_of(listed(70, "web.exe"))
    for number, size in ((CONNECTED, 0), (SENT, 100), (SENT, 50), (RECEIVED, 4000)):
        feed(flows, number, size)
    feed(flows, RECEIVED, 1, at=STAMP + 7)
    (flow,) = flows.flows()
    assert flow.payload == Counts(150, 4001, 2, 2) and flow.direction == "outbound" and flow.closed is False
    assert flow.key == BOOT.key(70, BOOTED) and flow.name == "web.exe"
    assert (flow.local, flow.remote) == (Endpoint("192.0.2.1", 49152), Endpoint("198.51.100.7", 443))
    assert (flow.first_at_ns, flow.last_at_ns) == (filetime_ns(STAMP), filetime_ns(STAMP + 7))
    feed(flows, GONE)
    assert flows.flows()[0].closed


def test_connections_without_payload_show_when_asked_for() -> None:
    for connections in (False, True):
        flows = flows_of(listed(70, "web.exe"), connections=connections)
        feed(flows, ACCEPTED)
        assert [flow.direction for flow in flows.flows()] == ["inbound"] * connections


def test_a_received_datagram_that_is_told_from_the_senders_side() -> None:
    flows = flows_of(listed(70, "dns.exe"))
    feed(flows, 43, 80, here=(THERE[0], 53), there=(HERE[0], 5353))
    (flow,) = flows.flows()
    assert flow.local == Endpoint("192.0.2.1", 5353) and flow.protocol == "udp" and flow.closed is None


def test_a_pid_is_somebody_else_after_a_start() -> None:
    flows = flows_of(listed(70, "old.exe"))
    feed(flows, SENT, 10)
    flows.feed(plain(KERNEL_PROCESS, 1, process_start(70, STAMP, 4, "\\Device\\X\\new.exe"), version=3))
    feed(flows, SENT, 20)
    assert {flow.name: flow.payload and flow.payload.sent_bytes for flow in flows.flows()} == {
        "old.exe": 10, "new.exe": 20,
    }  # fmt: skip
    assert {flow.key for flow in flows.flows()} == {BOOT.key(70, BOOTED), BOOT.key(70, STAMP)}


@pytest.mark.parametrize("pid", [0, 0xFFFFFFFF, 99])
def test_nobodys_events_say_so(pid: int) -> None:
    flows = flows_of(listed(70, "web.exe"))
    feed(flows, SENT, 10, pid=pid)
    (flow,) = flows.flows()
    assert flow.key is None and flow.unknown == "gone"


def test_unknown_pids_are_looked_up_but_not_for_every_event() -> None:
    asked: list[int] = []

    def listing() -> list[Listed]:
        asked.append(1)
        return [listed(70, "late.exe")] if len(asked) > 1 else []

    people = People(BOOT, listing)
    people._due_s = 0.0
    assert people.of(70) is not None and people.of(99) is None and people.of(98) is None
    assert len(asked) == 2


def test_a_listing_that_fails_leaves_the_pid_unknown() -> None:
    asked: list[int] = []

    def listing() -> list[Listed]:
        asked.append(1)
        if len(asked) > 1:
            raise Unavailable("no")
        return []

    people = People(BOOT, listing)
    people._due_s = 0.0
    assert people.of(70) is None and len(asked) == 2


def test_the_table_of_processes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostscope.platforms.windows.etw_processes.MOST_PROCESSES", 2)
    people = People(BOOT, lambda: [listed(pid, str(pid)) for pid in (1, 2, 3)])
    people._due_s = float("inf")
    assert people.of(1) is None and people.of(3) is not None


def test_a_full_table_gives_up_the_longest_idle() -> None:
    flows = flows_of(listed(70, "web.exe"), most=8)
    for number in range(9):
        feed(flows, SENT, 100, at=STAMP + number, here=(HERE[0], 50000 + number))
    ports = {flow.local.port for flow in flows.flows()}
    assert ports == set(range(50001, 50009)) and flows.evicted == Counts(100, 0, 1, 0)


def test_names_come_from_answers() -> None:
    flows = flows_of(listed(70, "web.exe"))
    flows.feed(plain(DNS_CLIENT, 3008, dns_answer("WWW.Example.", 1, "type: 5 a.example;::ffff:198.51.100.7;")))
    feed(flows, SENT, 10)
    (flow,) = flows.flows()
    assert (flow.domain, flow.domain_source) == ("www.example", "dns")


def test_the_table_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etw_flows, "MOST_NAMES", 2)
    flows = flows_of()
    results = "".join(f"192.0.2.{number};" for number in range(9))
    flows.feed(plain(DNS_CLIENT, 3008, dns_answer("a.example", 1, results)))
    assert len(flows._domains) == 2


def test_events_that_make_no_sense_are_counted() -> None:
    flows = flows_of()
    flows.feed(plain(KERNEL_NETWORK, SENT, b"\0" * 9))
    assert flows.unreadable == 1 and flows.flows() == ()


# The meter ------------------------------------------------------------------------------------------------------------


class Links:
    """Interfaces whose counters grow by what passes each time they are asked."""

    def __init__(self) -> None:
        self.looks = 0

    def interfaces(self, tally: Tally) -> Any:
        self.looks += 1
        counters = InterfaceCounters(1000 * self.looks, 100 * self.looks, 10, 10, 0, 0, 0, 0)
        address = InterfaceAddress("inet", "192.0.2.1", 24)
        yield Interface("Ethernet", 12, "ethernet", ("up",), "up", addresses=(address,), counters=counters)
        yield Interface("Loopback", 1, "loopback", ("up",), "up", addresses=(InterfaceAddress("inet", "127.0.0.1", 8),))


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Tracing:
    made = Tracing()
    script(monkeypatch, etw.advapi32, **made.functions())
    script(monkeypatch, ntdll.ntdll, NtQuerySystemInformation=System([Program(70, "web.exe")]))
    monkeypatch.setattr(etw_meter, "DELIVERY_S", 0.0)
    return made


def read_until(meter: Any, fits: Callable[[Reading], bool]) -> Reading:
    """Events come from another thread: looks until they have."""
    for _ in range(10_000):
        if fits(reading := meter.read()):
            return reading
        threading.Event().wait(0.001)
    raise AssertionError("the events never came")


def total(flows: tuple[Flow, ...]) -> int:
    return sum(flow.payload.total_bytes for flow in flows if flow.payload)


def test_readings(tracing: Tracing) -> None:
    tally = Tally()
    with Traffic(BOOT, Links()).open(TrafficRequest(), tally) as meter:
        tracing.deliver([
            event(KERNEL_NETWORK, SENT, network(70, 100, HERE, THERE)),
            event(KERNEL_NETWORK, RECEIVED, network(70, 900, HERE, THERE)),
            event(KERNEL_NETWORK, SENT, network(99, 7, HERE, (THERE[0], 80))),
            event(KERNEL_NETWORK, SENT, network(70, 5000, LOOP, LOOP)),
        ])  # fmt: skip
        reading = read_until(meter, lambda one: total(one.flows) == 6007)
        assert meter.method == "etw" and reading.elapsed_ns > 0
        ledger = reading.ledger
        assert ledger is not None and ledger.estimated and ledger.interfaces == ("Ethernet", "Loopback")
        parts = {line.reason: line.bytes for line in ledger.lines}
        assert parts == {"attributed": 1000, "gone": 7, "evicted": 0}
        assert ledger.remainder_bytes == ledger.interface_bytes - 1007
        tracing.lost = (3, 0, 0)
        assert meter.read().lost.total_packets == 3
    assert tally.method == "etw" and not tracing.sessions
    assert {guid for guid, _, _ in tracing.enabled} == {KERNEL_NETWORK, KERNEL_PROCESS, DNS_CLIENT}


def test_names_may_be_left_out_and_other_systems_name_is_understood(tracing: Tracing) -> None:
    with Traffic(BOOT, Links()).open(TrafficRequest(method="accounting", names=False), Tally()) as meter:
        assert meter.method == "etw"
    assert DNS_CLIENT not in {guid for guid, _, _ in tracing.enabled}


def test_wrong_requests(tracing: Tracing) -> None:
    traffic = Traffic(BOOT, Links())
    with pytest.raises(UsageError, match="no method 'wire'"), traffic.open(TrafficRequest(method="wire"), Tally()):
        pass
    with pytest.raises(UsageError, match="no interface"), traffic.open(TrafficRequest(interfaces=("x",)), Tally()):
        pass
    tracing.refuse["StartTraceW"] = 5
    with pytest.raises(Denied), traffic.open(TrafficRequest(), Tally()):
        pass


def test_only_named_interfaces_are_in_the_ledger(tracing: Tracing) -> None:
    request = TrafficRequest(interfaces=("Ethernet",))
    with Traffic(BOOT, Links()).open(request, Tally()) as meter:
        ledger = meter.read().ledger
    assert ledger is not None and ledger.interfaces == ("Ethernet",)


def test_a_session_that_ends_is_told_when_the_meter_is_read(tracing: Tracing) -> None:
    with Traffic(BOOT, Links()).open(TrafficRequest(), Tally()) as meter:
        tracing.events.put(1223)
        with pytest.raises(Exception, match="somebody else"):
            read_until(meter, lambda _: False)


def test_events_that_cannot_be_read_are_a_note(tracing: Tracing) -> None:
    tally = Tally()
    with Traffic(BOOT, Links()).open(TrafficRequest(), tally) as meter:
        tracing.deliver([event(KERNEL_NETWORK, SENT, b"x")])
        read_until(meter, lambda one: one.lost.total_packets == 1)
    assert any("1 events could not be read" in note for note in tally.notes)
