"""Who stands behind a resolver of this host."""

from hostscope.model.dns import DnsQuery
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.socket import Endpoint, SocketOwner
from hostscope.wire.dns import Question
from hostscope.wire.queries import Exchange
from hostscope.wire.scores import MAX_SERVERS, OTHERS, ScoreBoard, quantile
from hostscope.wire.stubs import HOLD_NS, StubLinks

MS = 1_000_000
STUB, UPSTREAM = Endpoint("127.0.0.53", 53), Endpoint("192.0.2.53", 53)


def owner(pid: int, name: str) -> SocketOwner:
    return SocketOwner(ProcessKey("b", 1, pid, pid), name)


CURL, WGET, RESOLVED, DNSMASQ = owner(10, "curl"), owner(11, "wget"), owner(2, "systemd-resolve"), owner(3, "dnsmasq")


def exchange(
    at_ms: int,
    end_ms: int | None,
    server: Endpoint,
    port: int,
    asker: SocketOwner | Gap | None,
    serving: SocketOwner | None = None,
    name: str = "a.example",
) -> Exchange:
    client = Endpoint("127.0.0.1" if server.address.startswith("127") else "10.0.0.5", port)
    made = Exchange(at_ms * MS, Question(name, "A"), client, server, "udp", asker, serving, at_ms * MS)
    made.ended_ns = None if end_ms is None else end_ms * MS
    made.rcode = "NOERROR" if end_ms is not None else None
    return made


def rows(*exchanges: Exchange) -> dict[int | None, DnsQuery]:
    """Rows by the client's port; told of in the order of their ends, as they come."""
    links = StubLinks()
    for each in sorted(exchanges, key=lambda each: each.at_ns):
        links.asked(each)
    for each in sorted(exchanges, key=lambda each: each.ended_ns or 1 << 60):
        links.ended(each, 0)
    return {row.client.port: row for row in links.finish()}


def test_the_upstream_question_has_the_process_that_asked() -> None:
    found = rows(exchange(0, 20, STUB, 1, CURL, RESOLVED), exchange(1, 19, UPSTREAM, 2, RESOLVED))
    assert (found[1].process, found[1].via_stub, found[1].stub) == ("curl", False, None)
    assert (found[2].process, found[2].key, found[2].via_stub) == ("curl", CURL.key, True)
    assert found[2].stub == RESOLVED


def test_a_question_of_the_stub_itself_is_its_own() -> None:
    found = rows(exchange(0, 20, STUB, 1, CURL, RESOLVED), exchange(30, 40, UPSTREAM, 2, RESOLVED))
    assert (found[2].process, found[2].via_stub) == ("systemd-resolve", False)
    found = rows(exchange(0, 20, STUB, 1, CURL, RESOLVED), exchange(1, 2, UPSTREAM, 2, RESOLVED, name="other.example"))
    assert not found[2].via_stub


def test_two_askers_are_not_guessed_between() -> None:
    found = rows(
        exchange(0, 20, STUB, 1, CURL, RESOLVED),
        exchange(1, 20, STUB, 3, WGET, RESOLVED),
        exchange(2, 19, UPSTREAM, 2, RESOLVED),
    )
    assert found[2].via_stub and found[2].process is None and found[2].stub == RESOLVED
    assert found[2].gaps == (Gap("key", Reason.UNAVAILABLE, "2 processes had asked the stub the same question"),)


def test_one_process_that_asks_twice_is_one() -> None:
    found = rows(
        exchange(0, 20, STUB, 1, CURL, RESOLVED),
        exchange(1, 20, STUB, 3, CURL, RESOLVED),
        exchange(2, 19, UPSTREAM, 2, RESOLVED),
    )
    assert found[2].process == "curl"


def test_another_process_that_asks_upstream_itself_is_no_stub() -> None:
    found = rows(exchange(0, 20, STUB, 1, CURL, RESOLVED), exchange(1, 19, UPSTREAM, 2, WGET))
    assert (found[2].process, found[2].via_stub) == ("wget", False)


def test_a_process_that_gives_up_on_the_stub_asks_for_itself() -> None:
    found = rows(exchange(0, None, STUB, 1, CURL), exchange(1000, 1019, UPSTREAM, 2, CURL))
    assert (found[2].process, found[2].via_stub) == ("curl", False)


def test_resolvers_in_a_chain() -> None:
    second = Endpoint("127.0.0.1", 53)
    found = rows(
        exchange(0, 20, STUB, 1, CURL, RESOLVED),
        exchange(1, 19, second, 2, RESOLVED, DNSMASQ),
        exchange(2, 18, UPSTREAM, 3, DNSMASQ),
    )
    assert [found[port].process for port in (1, 2, 3)] == ["curl"] * 3
    assert found[3].stub == DNSMASQ and found[2].stub == RESOLVED


def test_without_owners_question_and_time_decide() -> None:
    denied = Gap("key", Reason.DENIED)
    near = rows(exchange(0, None, STUB, 1, denied), exchange(5, 9, UPSTREAM, 2, denied))
    assert near[2].via_stub and near[2].process is None and near[2].gaps == (denied,)
    far = rows(exchange(0, None, STUB, 1, denied), exchange(2500, 2600, UPSTREAM, 2, denied))
    assert not far[2].via_stub


def test_rows_wait_a_moment_for_other_interfaces() -> None:
    links = StubLinks()
    links.ended(exchange(1, 2, UPSTREAM, 2, RESOLVED), now_ns=100)
    assert list(links.ready(100 + HOLD_NS - 1)) == []
    assert len(list(links.ready(100 + HOLD_NS))) == 1


def query(
    server: str = "192.0.2.53", rcode: str | None = "NOERROR", latency_ms: int | None = 1, **more: object
) -> DnsQuery:
    latency_ns = None if latency_ms is None else latency_ms * MS
    transport = str(more.pop("transport", "udp"))
    return DnsQuery(0, "a", "A", Endpoint(server, 53), Endpoint("10.0.0.5", 1), transport, rcode, latency_ns, **more)  # type: ignore[arg-type]


def test_scores() -> None:
    board = ScoreBoard()
    for latency in range(1, 21):
        board.add(query(latency_ms=latency))
    for code in ("SERVFAIL", "REFUSED", "NXDOMAIN"):
        board.add(query(rcode=code, latency_ms=5))
    board.add(query(rcode=None, latency_ms=None, timed_out=True))
    board.add(query(rcode=None, latency_ms=None))
    board.add(query("192.0.2.54", latency_ms=7))
    board.add(query("224.0.0.251", transport="mdns"))
    first, second = board.rows()
    assert (first.server, first.queries, first.answered) == ("192.0.2.53:53", 25, 23)
    assert (first.failures, first.nonexistent, first.timeouts) == (2, 1, 1)
    assert (first.latency_median_ns, first.latency_p95_ns, first.latency_max_ns) == (9 * MS, 19 * MS, 20 * MS)
    assert second.server == "192.0.2.54:53" and second.latency_p95_ns == 7 * MS


def test_servers_are_bounded() -> None:
    board = ScoreBoard()
    for number in range(MAX_SERVERS + 5):
        board.add(query(f"10.0.{number >> 8}.{number & 255}"))
    rows = {row.server: row.queries for row in board.rows()}
    assert len(rows) == MAX_SERVERS + 1 and rows[OTHERS] == 5


def test_quantiles() -> None:
    assert quantile([], 0.5) is None
    assert [quantile([1, 2, 3, 4], share) for share in (0.5, 0.95, 1.0)] == [2, 4, 4]
    assert quantile([5], 0.5) == 5
