"""Questions, answers and what fits neither."""

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.model.dns import DnsAnswer
from hostscope.model.socket import Endpoint
from hostscope.wire.dns import Question
from hostscope.wire.dns_packets import MAX_CONNECTIONS, DnsPackets
from hostscope.wire.queries import Exchange, QueryTable
from tests.unit.wire.frames import AT, CLIENT, MS, SERVER, Place, answer, batch, question, tcp, udp

SECOND = 1000 * MS


def run(*frames: bytes | tuple[int, bytes], table: QueryTable | None = None) -> tuple[list[Exchange], QueryTable]:
    table = QueryTable() if table is None else table
    ended = [exchange for packet in DnsPackets().feed(batch(*frames)) for exchange in table.feed(packet)]
    return ended, table


def asked(late: int = 0, client: Place = CLIENT, **fields: object) -> tuple[int, bytes]:
    return late, udp(client, SERVER, question(**fields))  # type: ignore[arg-type]


def told(late: int, server: Place = SERVER, client: Place = CLIENT, **fields: object) -> tuple[int, bytes]:
    return late, udp(server, client, answer(**fields))  # type: ignore[arg-type]


def test_an_answer_ends_its_question() -> None:
    (exchange,), table = run(asked(), told(12 * MS))
    assert exchange.question == Question("www.example.com", "A")
    assert exchange.latency_ns == 12 * MS and exchange.rcode == "NOERROR" and not exchange.timed_out
    assert exchange.answers == (DnsAnswer("www.example.com", "A", 60, "192.0.2.80"),)
    assert (exchange.client, exchange.server) == (Endpoint(*CLIENT), Endpoint(*SERVER))
    assert len(table) == 0


def test_over_ipv6() -> None:
    client, server = ("2001:db8::5", 4), ("2001:db8::53", 53)
    (exchange,), _ = run(udp(client, server, question()), (MS, udp(server, client, answer())))
    assert exchange.client == Endpoint("2001:db8::5", 4) and exchange.latency_ns == MS


def test_questions_of_one_client_are_told_apart() -> None:
    ended, _ = run(
        asked(0, name="a.example", number=1), asked(MS, name="a.example", kind="AAAA", number=2),
        told(3 * MS, name="a.example", kind="AAAA", number=2, value="2001:db8::1"),
        told(5 * MS, name="a.example", number=1, rcode="NXDOMAIN", value=None),
    )  # fmt: skip
    assert [(each.question.type, each.rcode, each.latency_ns) for each in ended] == [
        ("AAAA", "NOERROR", 2 * MS),
        ("A", "NXDOMAIN", 5 * MS),
    ]


def test_letters_of_either_case_are_the_same() -> None:
    ended, _ = run(asked(name="wWw.eXample.com"), told(MS, name="www.example.com"))
    assert [each.rcode for each in ended] == ["NOERROR"]


def test_a_repeated_question_is_an_attempt() -> None:
    (exchange,), _ = run(asked(), asked(1 * SECOND), asked(2 * SECOND), told(2 * SECOND + 9 * MS))
    assert exchange.attempts == 3 and exchange.latency_ns == 2 * SECOND + 9 * MS


def test_a_copy_on_another_interface_is_no_attempt() -> None:
    ended, table = run(asked(), asked(MS), told(2 * MS), told(3 * MS), asked(4 * MS))
    assert [each.attempts for each in ended] == [1] and len(table) == 0
    assert table.oddities.conflicting == table.oddities.unasked == 0


def test_a_question_times_out_after_its_last_attempt() -> None:
    ended, table = run(asked(), asked(2 * SECOND))
    assert ended == []
    assert list(table.expire(AT + 7 * SECOND - 1)) == []
    (exchange,) = table.expire(AT + 7 * SECOND)
    assert exchange.timed_out and exchange.rcode is None and exchange.latency_ns is None and exchange.attempts == 2


def test_a_late_answer_is_counted() -> None:
    ended, table = run(asked(), told(6 * SECOND))
    assert [each.timed_out for each in ended] == [True]
    assert table.oddities.late == 1 and table.oddities.unasked == 0


def test_what_still_waits_at_the_end_has_not_timed_out() -> None:
    _, table = run(asked())
    (exchange,) = table.finish()
    assert not exchange.timed_out and exchange.rcode is None and len(table) == 0


@pytest.mark.parametrize(
    "forged",
    [
        told(MS, number=8),
        told(MS, server=("203.0.113.66", 53)),
        told(MS, name="evil.example"),
        told(MS, kind="AAAA", value="2001:db8::bad"),
    ],
)
def test_answers_that_do_not_fit_are_counted_and_not_believed(forged: tuple[int, bytes]) -> None:
    ended, table = run(asked(), forged, told(9 * MS))
    assert [each.latency_ns for each in ended] == [9 * MS]
    assert table.oddities.mismatched == 1


def test_a_second_answer_that_differs() -> None:
    _, table = run(asked(), told(MS), told(2 * MS, value="203.0.113.66"))
    assert table.oddities.conflicting == 1


def test_an_answer_to_nothing() -> None:
    ended, table = run(told(0))
    assert ended == [] and table.oddities.unasked == 1 and table.oddities.mismatched == 0


def test_a_failure_that_repeats_no_question() -> None:
    bare = dns.message.from_wire(answer(rcode="REFUSED", value=None))
    bare.question.clear()
    (exchange,), _ = run(asked(), (MS, udp(SERVER, CLIENT, bare.to_wire())))
    assert exchange.rcode == "REFUSED"


def test_owners_are_asked_when_the_question_is_seen() -> None:
    seen: list[tuple[str, Endpoint, Endpoint, int]] = []
    table = QueryTable(owner_of=lambda *given: seen.append(given))  # type: ignore[func-returns-value]
    run(asked(3), asked(4), told(MS), table=table)
    assert seen == [("udp", Endpoint(*CLIENT), Endpoint(*SERVER), AT + 3)]


def test_open_questions_are_bounded() -> None:
    ended, table = run(*(asked(number, number=number) for number in range(9)), table=QueryTable(limit=4))
    assert len(table) == 4 and len(ended) == 5 and table.oddities.evicted == 5
    assert all(each.rcode is None and not each.timed_out for each in ended)


def stream(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def test_over_tcp_in_pieces_and_out_of_order() -> None:
    one, two = question(number=1), question(name="b.example", number=2)
    asks, start = stream(one, two), 0xFFFFFFF0
    tells = stream(answer(name="b.example", number=2), answer(number=1))
    ended, _ = run(
        (0, tcp(CLIENT, SERVER, b"", start - 1, flags=2, options=20)),
        (1, tcp(SERVER, CLIENT, b"", 99, flags=0x12)),
        (2, tcp(CLIENT, SERVER, asks[30:], start + 30)),
        (3, tcp(CLIENT, SERVER, asks[:30], start, options=12)),
        (4, tcp(CLIENT, SERVER, asks[:30], start)),
        (5, tcp(SERVER, CLIENT, tells[:1], 100)),
        (6, tcp(SERVER, CLIENT, tells[1:], 101)),
        (7, tcp(SERVER, CLIENT, b"", 400, flags=0x11)),
    )
    assert [(each.question.name, each.transport, each.latency_ns) for each in ended] == [
        ("b.example", "tcp", 3),
        ("www.example.com", "tcp", 3),
    ]


def test_a_connection_met_in_the_middle() -> None:
    ended, _ = run(tcp(CLIENT, SERVER, stream(question()), 5000), (MS, tcp(SERVER, CLIENT, stream(answer()), 9)))
    assert [each.rcode for each in ended] == ["NOERROR"]


def test_connections_are_bounded() -> None:
    packets = DnsPackets()
    list(packets.feed(batch(*(tcp(("10.0.0.5", port), SERVER, b"\xff", 1) for port in range(1, MAX_CONNECTIONS + 11)))))
    assert packets.dropped == 10


def test_a_hole_that_is_never_filled_is_given_up() -> None:
    packets = DnsPackets()
    frames = [tcp(CLIENT, SERVER, bytes(1400), 10_000 + 1400 * number) for number in range(1, 120)]
    list(packets.feed(batch(tcp(CLIENT, SERVER, b"", 0, flags=2), *frames)))
    assert packets.dropped >= 1


def test_questions_to_the_neighbourhood() -> None:
    group, me, box = ("224.0.0.251", 5353), ("10.0.0.5", 5353), ("10.0.0.9", 5353)
    heard = dns.message.from_wire(answer(name="box.local", value="10.0.0.9", number=0))
    heard.question.clear()
    ended, table = run(
        (0, udp(me, group, question(name="box.local", number=0))), (MS, udp(box, group, heard.to_wire())),
        (2 * MS, udp(box, group, heard.to_wire())),
    )  # fmt: skip
    assert [(each.transport, each.latency_ns) for each in ended] == [("mdns", MS)]
    assert table.oddities.unasked == 0, "announcements are no answers"
    ended, _ = run(
        (0, udp(CLIENT, ("224.0.0.252", 5355), question(name="box"))),
        (MS, udp(("10.0.0.9", 5355), CLIENT, answer(name="box"))),
    )
    assert [(each.transport, each.rcode) for each in ended] == [("llmnr", "NOERROR")]


def test_other_packets_are_not_looked_at() -> None:
    packets = DnsPackets()
    assert list(packets.feed(batch(udp(CLIENT, ("192.0.2.53", 443), question()), b"junk"))) == []
    assert packets.unreadable == 0
    assert list(DnsPackets((5300,)).feed(batch(udp(CLIENT, ("192.0.2.53", 5300), question())))) != []


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.booleans(), st.binary(max_size=60), st.integers(0, 2**32 - 1), st.integers(0, 255)), max_size=8
    )
)
def test_any_payloads(parts: list[tuple[bool, bytes, int, int]]) -> None:
    frames = [
        tcp(CLIENT, SERVER, data, number, flags) if over_tcp else udp(SERVER, CLIENT, data)
        for over_tcp, data, number, flags in parts
    ]
    _, table = run(*frames)
    list(table.finish())
    assert len(table) == 0
