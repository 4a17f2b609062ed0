"""Questions on one line, and latencies."""

import pytest

from hostscope.model.dns import DnsAnswer, DnsQuery
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Endpoint, SocketOwner
from hostscope.render.dns_columns import QUERIES, RESOLVERS, SCORES, render_query
from hostscope.render.table import cells_of
from hostscope.render.units import render_latency
from tests.fake import key

AT = 1_700_000_000_123_000_000
SERVER, CLIENT = Endpoint("127.0.0.53", 53), Endpoint("127.0.0.1", 4)


def query(rcode: str | None = "NOERROR", values: tuple[str, ...] = (), **more: object) -> DnsQuery:
    given: dict[str, object] = {"transport": "udp", "latency_ns": None if rcode is None else 12_300_000}
    answers = tuple(DnsAnswer("a.example", "A", 1, value) for value in values)
    return DnsQuery(AT, "a.example", "A", SERVER, CLIENT, rcode=rcode, answers=answers, **(given | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (query(values=("192.0.2.1",), key=key(7), process="curl"), "curl(7)  A a.example  192.0.2.1  12.3ms  from"),
        (query(values=tuple("abcdef")), "-  A a.example  a, b, c, d, and 2 more  12.3ms  from 127.0.0.53:53"),
        (query(), "-  A a.example  no such record  12.3ms"),
        (query("NXDOMAIN", gaps=(Gap("key", Reason.GONE),)), "?  A a.example  NXDOMAIN  12.3ms"),
        (query(None, timed_out=True, attempts=3), "timeout  asked 127.0.0.53:53 after 3 attempts"),
        (query(None), "waiting  asked 127.0.0.53:53"),
        (query(via_stub=True, stub=SocketOwner(key(2), "resolved")), "via resolved(2)"),
        (query(via_stub=True), "via a local stub"),
        (query(transport="tcp", truncated=True), "over tcp (cut: did not fit a datagram)"),
        (query(values=("\x1b[31m",)), "\\x1b[31m"),
    ],
)
def test_lines(row: DnsQuery, line: str) -> None:
    text = render_query(row)
    assert text.startswith("22:13:20.123  ") and text.endswith("\n") and text.count("\n") == 1
    assert line in text


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0.00ms"),
        (310_000, "0.31ms"),
        (9_994_999, "9.99ms"),
        (9_995_000, "10.0ms"),
        (999_949_999, "999.9ms"),
        (999_950_000, "1.00s"),
        (12_340_000_000, "12.34s"),
    ],
)
def test_latencies(duration_ns: int, text: str) -> None:
    assert render_latency(duration_ns) == text


def test_latencies_sort_as_numbers() -> None:
    assert QUERIES.column("latency").get(query()) == 12_300_000
    assert {QUERIES.column("latency").kind, SCORES.column("median").kind} == {"latency"}


def test_a_cell_that_is_not_known() -> None:
    (cell,) = cells_of(QUERIES.choose("pid"))(query(gaps=(Gap("key", Reason.GONE),)))
    assert cell == "?"
    assert RESOLVERS.column("search").kind == "list"
