"""Questions that Windows' resolver was asked, from events to rows."""

import struct
import threading

import pytest

from hostscope.errors import Denied
from hostscope.model.dns import DnsAnswer, DnsQuery
from hostscope.model.gap import Reason
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import dns_queries
from hostscope.platforms.windows.clock import Boot, filetime_ns
from hostscope.platforms.windows.dns_queries import DnsQuestions
from hostscope.platforms.windows.etw_processes import People
from hostscope.platforms.windows.native import etw, ntdll
from hostscope.platforms.windows.parse_etw import DNS_CLIENT, KERNEL_PROCESS, EtwRecord
from hostscope.platforms.windows.parse_processes import Listed
from hostscope.platforms.windows.resolvers import Resolvers
from tests.unit.platforms.windows.scripted import BOOTED, Program, System, script
from tests.unit.platforms.windows.scripted_etw import STAMP, Tracing, dns_answer, event, plain, process_start, wide

BOOT = Boot("boot", 0)
MS = 10_000


def questions() -> DnsQuestions:
    listed = [Listed(70, 0, "web.exe", BOOTED, 1, 0, 8, 1, b"")]
    return DnsQuestions(People(BOOT, lambda: listed))


def asked(name: str, kind: int = 1, pid: int = 70, at: int = STAMP) -> EtwRecord:
    payload = wide(name) + struct.pack("<IQ", kind, 0) + wide("") + struct.pack("<IIII", 1, 0, 0, 0)
    return plain(DNS_CLIENT, 3006, payload, pid=pid, filetime=at)


def ended(name: str, results: str = "", status: int = 0, kind: int = 1, pid: int = 70, at: int = STAMP) -> EtwRecord:
    return plain(DNS_CLIENT, 3008, dns_answer(name, kind, results, status), pid=pid, filetime=at)


def rows(*records: EtwRecord, into: DnsQuestions | None = None) -> list[DnsQuery]:
    table = into or questions()
    return [row for record in records for row in table.feed(record)]


def test_a_question_and_its_answer() -> None:
    results = "type: 5 a.example;::ffff:192.0.2.1;2001:db8::1;"
    (row,) = rows(asked("WWW.Example"), ended("www.example", results, at=STAMP + 12 * MS))
    assert (row.name, row.type, row.rcode, row.latency_ns) == ("www.example", "A", "NOERROR", 12_000_000)
    assert row.at_ns == filetime_ns(STAMP) and row.transport == "resolver" and row.attempts == 1
    assert row.answers == (
        DnsAnswer("www.example", "CNAME", None, "a.example"), DnsAnswer("a.example", "A", None, "192.0.2.1"),
        DnsAnswer("a.example", "AAAA", None, "2001:db8::1"),
    )  # fmt: skip
    assert row.key == BOOT.key(70, BOOTED) and row.process == "web.exe"
    assert {gap.field: gap.reason for gap in row.gaps} == {
        "server": Reason.UNSUPPORTED, "client": Reason.UNSUPPORTED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "rcode"), [(9003, "NXDOMAIN"), (9501, "NOERROR"), (9002, "SERVFAIL"), (87, "error 87")]
)
def test_failures(status: int, rcode: str) -> None:
    assert rows(asked("x.example"), ended("x.example", status=status))[0].rcode == rcode


def test_timeouts() -> None:
    (row,) = rows(asked("x.example"), ended("x.example", status=1460, at=STAMP + 1))
    assert row.timed_out and row.rcode is None and row.latency_ns is None


def test_an_answer_whose_question_was_before_us() -> None:
    (row,) = rows(ended("x.example", kind=65280))
    assert row.latency_ns is None and row.at_ns == filetime_ns(STAMP) and row.type == "TYPE65280"


def test_questions_of_several_processes_and_types_stay_apart() -> None:
    found = rows(
        asked("x.example", 1), asked("x.example", 28, at=STAMP + MS), asked("x.example", 1, pid=71, at=STAMP + 2 * MS),
        asked("x.example", 1, at=STAMP + 3 * MS),
        ended("x.example", kind=28, at=STAMP + 4 * MS), ended("x.example", kind=1, at=STAMP + 4 * MS),
    )  # fmt: skip
    assert [(row.type, row.latency_ns, row.attempts) for row in found] == [("AAAA", 3_000_000, 1), ("A", 4_000_000, 2)]


def test_processes_that_started_meanwhile_or_are_not_known() -> None:
    table = questions()
    started = plain(KERNEL_PROCESS, 1, process_start(99, STAMP, 4, "\\Device\\X\\new.exe"), version=3)
    (unknown,) = rows(ended("x.example", pid=98), into=table)
    (known,) = rows(started, ended("x.example", pid=99), into=table)
    assert unknown.key is None and unknown.gaps[-1].reason is Reason.GONE
    assert known.key == BOOT.key(99, STAMP) and known.process == "new.exe"


def test_open_questions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_queries, "MOST_OPEN", 2)
    table = questions()
    rows(*(asked(f"{number}.example") for number in range(5)), into=table)
    assert len(table._open) == 2


def test_events_that_make_no_sense_are_counted() -> None:
    table = questions()
    assert rows(plain(DNS_CLIENT, 3008, b"x"), plain(KERNEL_PROCESS, 1, b"x"), into=table) == []
    assert table.unreadable == 2


def test_live_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing, stop, tally = Tracing(), threading.Event(), Tally()
    script(monkeypatch, etw.advapi32, **tracing.functions())
    script(monkeypatch, ntdll.ntdll, NtQuerySystemInformation=System([Program(70, "web.exe")]))
    tracing.deliver([event(DNS_CLIENT, 3008, dns_answer("a.example", 1, ""), pid=70)])
    watched = Resolvers(lambda: BOOT).queries(stop, tally)
    assert next(watched).process == "web.exe"
    stop.set()
    assert list(watched) == [] and tally.method == "etw" and not tracing.sessions
    assert {guid for guid, _, _ in tracing.enabled} == {DNS_CLIENT, KERNEL_PROCESS}


def test_without_the_right_to_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing = Tracing()
    tracing.refuse["StartTraceW"] = 5
    script(monkeypatch, etw.advapi32, **tracing.functions())
    with pytest.raises(Denied):
        next(Resolvers(lambda: BOOT).queries(threading.Event(), Tally()))
