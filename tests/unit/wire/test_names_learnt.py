"""Names of addresses and flows, learnt by watching."""

import dns.message
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.dns import DnsAnswer, Name
from hostscope.wire.dns import DnsMessage, parse_message
from hostscope.wire.names import KEEP_NS, LEAST_NS, MAX_DOMAINS, NameTable, addresses_of

AT, SECOND = 1_700_000_000_000_000_000, 1_000_000_000


def answer(name: str, *sets: tuple[str, int, str, str], rcode: int = 0) -> DnsMessage:
    message = dns.message.make_response(dns.message.make_query(name, "A"))
    message.answer += [dns.rrset.from_text(owner, ttl, "IN", kind, data) for owner, ttl, kind, data in sets]
    message.set_rcode(rcode)
    found = parse_message(message.to_wire())
    assert found is not None
    return found


def test_addresses_of_a_chain() -> None:
    table = NameTable()
    chain = answer("www.shop.example", ("www.shop.example.", 300, "CNAME", "a.cdn.example."),
                   ("a.cdn.example.", 200, "CNAME", "b.cdn.example."), ("b.cdn.example.", 400, "A", "192.0.2.1"),
                   ("b.cdn.example.", 400, "AAAA", "2001:db8::1"))  # fmt: skip
    assert table.learn_dns(chain, AT) == 2
    for address in ("192.0.2.1", "2001:db8::1"):
        assert table.name_of(address, AT) == Name("www.shop.example", "dns", aliases=("a.cdn.example", "b.cdn.example"))
    assert table.name_of("192.0.2.2", AT) is None
    fresh = AT + 200 * SECOND
    before, after = table.name_of("192.0.2.1", fresh - 1), table.name_of("192.0.2.1", fresh)
    assert before is not None and not before.expired, "the shortest time to live of the chain counts"
    assert after is not None and after.expired
    assert table.name_of("192.0.2.1", fresh + KEEP_NS) is None
    assert table.name_of("192.0.2.1", AT - 1) is None, "it was not known yet"


def test_a_short_time_to_live_counts_as_a_minute() -> None:
    table = NameTable()
    table.learn_dns(answer("a.example", ("a.example.", 0, "A", "192.0.2.1")), AT)
    found = table.name_of("192.0.2.1", AT + LEAST_NS - 1)
    assert found is not None and not found.expired


def test_the_domain_asked_for_last_wins_and_others_are_counted() -> None:
    table = NameTable()
    for number in range(7):
        table.learn_dns(answer(f"n{number}.example", (f"n{number}.example.", 60, "A", "192.0.2.1")), AT + number)
    found = table.name_of("192.0.2.1", AT + 10)
    assert found is not None and found.domain == "n6.example" and found.others == MAX_DOMAINS - 1
    table.learn_dns(answer("n5.example", ("n5.example.", 60, "A", "192.0.2.1")), AT + 20)
    again = table.name_of("192.0.2.1", AT + 20)
    assert again is not None and again.domain == "n5.example" and again.others == MAX_DOMAINS - 1


def test_what_is_no_answer_teaches_nothing() -> None:
    table = NameTable()
    query = parse_message(dns.message.make_query("a.example", "A").to_wire())
    assert query is not None and table.learn_dns(query, AT) == 0
    assert table.learn_dns(answer("a.example", ("a.example.", 60, "A", "192.0.2.1"), rcode=3), AT) == 0
    assert table.learn_dns(answer("a.example", ("other.example.", 60, "A", "192.0.2.1")), AT) == 0
    assert len(table) == 0


def test_a_chain_in_a_circle_ends() -> None:
    circle = (DnsAnswer("a", "CNAME", 1, "b"), DnsAnswer("b", "CNAME", 1, "a"))
    assert addresses_of("a", circle) == []


def test_the_table_is_bounded() -> None:
    table = NameTable(limit=3)
    for number in range(5):
        table.learn_dns(answer("a.example", ("a.example.", 60, "A", f"192.0.2.{number}")), AT)
    assert len(table) == 3 and table.evicted == 2
    assert table.name_of("192.0.2.0", AT) is None and table.name_of("192.0.2.4", AT) is not None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["A", "CNAME", "TXT"]), st.integers(0, 9),
                          st.sampled_from("abcd")), max_size=12))  # fmt: skip
def test_any_answers(rows: list[tuple[str, str, int, str]]) -> None:
    answers = tuple(DnsAnswer(*row) for row in rows)
    for _, aliases, ttl_s in addresses_of("a", answers):
        assert len(aliases) <= 4 and 0 <= ttl_s <= 9
