"""Readings to rows."""

import threading
from contextlib import AbstractContextManager

import pytest

from hostscope.collectors import flow_targets, traffic
from hostscope.collectors.meters import OF_ALL_INTERFACES
from hostscope.collectors.polling_meter import open_polling_meter
from hostscope.collectors.traffic import group, owner_of, process_row, watch, with_names
from hostscope.errors import Denied, Gone, Unsupported, UsageError
from hostscope.model.interface import Interface
from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts, Flow, Reading, TrafficRequest
from hostscope.platforms.base_network import Meter
from hostscope.platforms.tally import Tally
from tests.fake import Answers, host, process

SSH, WEB = process(30, "sshd", 1), process(31, "nginx", 1)


def flow(row: object = None, **fields: object) -> Flow:
    key = getattr(row, "key", None)
    given = {
        "protocol": "tcp", "local": Endpoint("10.0.0.1", 22), "remote": Endpoint("10.0.0.2", 40000), "key": key,
        "name": getattr(row, "name", None), "payload": Counts(10, 20, 1, 2), "first_at_ns": 1,
    }  # fmt: skip
    return Flow(**{**given, **fields})  # type: ignore[arg-type]


def reading(*flows: Flow) -> Reading:
    return Reading(0, 1, flows, None)


def test_flows_are_summed_by_process() -> None:
    rows = group([flow(SSH), flow(SSH, remote=Endpoint("10.0.0.3", 1), payload=Counts(100, 0, 1, 0)), flow(WEB)])
    row = process_row(SSH.key, rows[SSH.key])
    assert (row.connections, row.payload, row.wire) == (2, Counts(110, 20, 2, 2), None)
    assert row.addresses == ("10.0.0.3", "10.0.0.2") and row.name == "sshd"


def test_what_is_nobodys_is_a_row_with_its_reason() -> None:
    lost = flow(unknown="forwarded", payload=None, wire=Counts(5, 6, 1, 1))
    assert owner_of(lost) == "forwarded"
    row = process_row("forwarded", [lost])
    assert (row.key, row.name, row.unknown, row.payload) == (None, "(forwarded)", "forwarded", None)


def test_the_latest_name_counts() -> None:
    """A shell that became another program."""
    row = process_row(SSH.key, [flow(SSH, name="sh", first_at_ns=1), flow(SSH, name="curl", first_at_ns=2)])
    assert row.name == "curl"


def test_rates_are_since_the_last_look_and_rows_sorted() -> None:
    first = reading(flow(SSH, payload=Counts(100, 0, 1, 0)), flow(WEB, payload=Counts(10, 0, 1, 0)))
    second = reading(flow(SSH, payload=Counts(100, 0, 1, 0)), flow(WEB, payload=Counts(5000, 0, 9, 0)))
    answers = Answers(readings=[first, second])
    with watch(host(SSH, WEB, answers=answers), TrafficRequest()) as watching:
        assert [row.name for row in watching.look().processes] == ["sshd", "nginx"]
        after = watching.look().processes
    assert [row.name for row in after] == ["nginx", "sshd"]
    assert after[0].sent_rate > 0 and after[1].sent_rate == 0
    assert [row.ended for row in after] == [False, False]


def test_ended_processes_keep_what_was_known() -> None:
    gone = process(99, "gone", 1)
    with watch(host(SSH, answers=Answers(readings=[reading(flow(gone))])), TrafficRequest()) as watching:
        (row,) = watching.look().processes
    assert row.ended is True and row.name == "gone"


@pytest.mark.parametrize(
    ("targets", "names"),
    [((":22",), {"sshd", "nginx"}), (("nginx",), {"nginx"}), (("30",), {"sshd"}), (("nginx", "30"), {"sshd", "nginx"})],
)
def test_targets_choose_flows(targets: tuple[str, ...], names: set[str]) -> None:
    answers = Answers(readings=[reading(flow(SSH), flow(WEB), flow(None, unknown="gone", local=Endpoint("::", 9)))])
    with watch(host(SSH, WEB, answers=answers), TrafficRequest(), targets=targets) as watching:
        assert {row.name for row in watching.look().processes} == names


@pytest.mark.parametrize(
    ("target", "error"), [("", UsageError), (":x", UsageError), (":70000", UsageError), ("7", Gone)]
)
def test_wrong_targets(target: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        flow_targets.choose(host(SSH), (target,))


def test_a_table_is_collected_too() -> None:
    answer = traffic.collect(host(SSH, answers=Answers(readings=[reading(flow(SSH))])), duration_s=0.0)
    assert [row.name for row in answer.rows()] == ["sshd"]
    assert answer.coverage.method == "fake"


def test_names_that_were_asked_for_fill_gaps_only() -> None:
    known, new = flow(SSH, domain="a.example", domain_source="dns"), flow(SSH)
    (first, second) = with_names([known, new], {"10.0.0.2": "b.example"})
    assert isinstance(first, Flow) and isinstance(second, Flow)
    assert (first.domain, second.domain, second.domain_source) == ("a.example", "b.example", "reverse")


def test_each_worse_method_is_tried_and_the_best_ones_reason_told(monkeypatch: pytest.MonkeyPatch) -> None:
    box, tally = host(SSH), Tally()

    def refuse(request: TrafficRequest, tally: Tally) -> object:
        raise Denied("no programs for you", "be root")

    monkeypatch.setattr(box.traffic, "open", refuse)
    with watch(box, TrafficRequest(), tally):
        pass
    assert tally.method == "polling"
    assert tally.method_reason is not None and tally.method_reason.startswith("no programs for you; ")
    with pytest.raises(Denied), watch(box, TrafficRequest(method="accounting")):
        raise AssertionError
    with pytest.raises(Unsupported), watch(box, TrafficRequest(method="capture")):
        raise AssertionError


def test_packets_come_first_where_interfaces_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Payload is not told by interface; where nothing counts packets the coverage says what that means."""
    loopback = Interface("lo", 1, "loopback", (), "up", net_ns=1)
    box, tally, asked = host(SSH, answers=Answers(interfaces=[[loopback]])), Tally(), list[str | None]()
    open_ = box.traffic.open

    def opened(request: TrafficRequest, tally: Tally) -> AbstractContextManager[Meter]:
        asked.append(request.method)
        if request.method == "wire":
            raise UsageError("there is no method 'wire'")
        return open_(request, tally)

    monkeypatch.setattr(box.traffic, "open", opened)
    with watch(box, TrafficRequest(interfaces=("lo",)), tally):
        pass
    assert asked == ["wire", None] and OF_ALL_INTERFACES in tally.coverage().notes
    with watch(box, TrafficRequest(interfaces=("lo",), method="fake"), Tally()), watch(box, TrafficRequest(), Tally()):
        assert asked == ["wire", None, "fake", None]


def test_an_unknown_interface_is_refused_by_every_method() -> None:
    for method in ("polling", None):
        with pytest.raises(UsageError, match="no interface 'nosuch0'"):
            open_polling_meter(host(SSH), TrafficRequest(method=method, interfaces=("nosuch0",)), Tally()).__enter__()


def test_an_interruption_ends_the_wait() -> None:
    from hostscope.cli.traffic import wait

    stop = threading.Event()
    stop.set()
    with watch(host(SSH, answers=Answers(readings=[reading()])), TrafficRequest()) as watching:
        wait(watching, None, stop)
