"""DNS messages, those of a well-kept library and those of nobody."""

import struct
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.dns import DnsAnswer
from hostscope.wire.dns import MAX_ANSWERS, MAX_VALUE, DnsMessage, Question, parse_message


def parsed(message: dns.message.Message) -> DnsMessage:
    found = parse_message(message.to_wire(max_size=65535))
    assert found is not None
    return found


def answer_to(name: str, kind: str = "A", *sets: tuple[str, int, str, str]) -> dns.message.Message:
    query = dns.message.make_query(name, kind, id=7)
    answer = dns.message.make_response(query)
    answer.answer += [dns.rrset.from_text(owner, ttl, "IN", type_, data) for owner, ttl, type_, data in sets]
    return answer


def test_a_question() -> None:
    found = parsed(dns.message.make_query("WWW.Example.com", "AAAA", id=4711, use_edns=True))
    assert found == DnsMessage(4711, False, "QUERY", "NOERROR", False, (Question("www.example.com", "AAAA"),))


def test_an_answer_with_a_chain() -> None:
    chain = (
        ("www.example.com.", 300, "CNAME", "CDN.example.net."),
        ("cdn.example.net.", 20, "A", "192.0.2.1"),
        ("cdn.example.net.", 30, "A", "192.0.2.2"),
    )
    found = parsed(answer_to("www.example.com", "A", *chain))
    assert found.response and found.rcode == "NOERROR" and found.problem is None
    assert found.answers == (
        DnsAnswer("www.example.com", "CNAME", 300, "cdn.example.net"),
        DnsAnswer("cdn.example.net", "A", 20, "192.0.2.1"),
        DnsAnswer("cdn.example.net", "A", 30, "192.0.2.2"),
    )


def test_values_of_other_types() -> None:
    records = (
        ("e.example.", 1, "MX", "10 mx.e.example."),
        ("e.example.", 1, "TXT", '"a \\"b\\"" "\\200"'),
        ("e.example.", 1, "TYPE65280", "\\# 2 abcd"),
        (".", 1, "NS", "a.root."),
    )
    found = parsed(answer_to("e.example", "MX", *records))
    assert [answer.type for answer in found.answers] == ["MX", "TXT", "TYPE65280", "NS"]
    assert [answer.value for answer in found.answers[:3]] == [data for _, _, _, data in records[:3]]
    assert found.answers[3].value == "a.root" and found.answers[3].name == "."


def test_codes_of_failures() -> None:
    for name in ("NXDOMAIN", "SERVFAIL", "REFUSED"):
        answer = answer_to("x.example")
        answer.set_rcode(dns.rcode.from_text(name))
        assert parsed(answer).rcode == name
    answer = answer_to("x.example")
    answer.use_edns(0)
    answer.set_rcode(dns.rcode.BADVERS)
    assert parsed(answer).rcode == "BADVERS", "its upper bits stand in the EDNS record"


def test_truncation_is_said() -> None:
    answer = answer_to("x.example")
    answer.flags |= dns.flags.TC
    assert parsed(answer).truncated


def test_another_class_is_said() -> None:
    assert parsed(dns.message.make_query("version.bind", "TXT", "CH")).questions == (
        Question("version.bind", "CH TXT"),
    )


def test_the_unique_bit_of_multicast() -> None:
    raw = bytearray(answer_to("box.local", "A", ("box.local.", 120, "A", "192.0.2.9")).to_wire())
    at = raw.index(bytes([192, 0, 2, 9])) - 8
    assert raw[at : at + 2] == b"\0\x01"
    raw[at] = 0x80
    found = parse_message(bytes(raw))
    assert found is not None and found.answers == (DnsAnswer("box.local", "A", 120, "192.0.2.9"),)


def test_more_records_than_are_read() -> None:
    head = struct.pack("!HHHHHH", 1, 0x8180, 0, 60_000, 60_000, 60_000)
    raw = head + b"\0\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04" * 4000
    found = parse_message(raw)
    assert found is not None and found.cut and len(found.answers) == MAX_ANSWERS


def test_a_long_value_is_cut() -> None:
    found = parsed(answer_to("t.example", "TXT", ("t.example.", 1, "TXT", " ".join(['"' + "x" * 250 + '"'] * 40))))
    assert found.cut and len(found.answers[0].value) == MAX_VALUE


def test_compression_loops() -> None:
    head = struct.pack("!HHHHHH", 1, 0x8180, 1, 1, 0, 0)
    for pointer in (b"\xc0\x0c", b"\x01a\xc0\x0c", b"\xc0\xff", b"\xff\xff"):
        found = parse_message(head + pointer + b"\0\x01\0\x01" + pointer + b"\0\x01\0\x01\0\0\0\1\0\x04abcd")
        assert found is not None and found.problem is not None and found.questions == ()


def test_long_chains_of_pointers_cost_little() -> None:
    """Sixteen thousand bytes in which each pointer leads to the one before, and many names that begin at the last."""
    begin = 12 + 1 + 10
    places = range(begin, 0x3FF0, 2)
    chain = b"\0\0" + b"".join(struct.pack("!H", 0xC000 | place) for place in places)
    head = struct.pack("!HHHHHH", 1, 0x8180, 0, MAX_ANSWERS, 0, 0)
    holder = b"\0" + struct.pack("!HHIH", 65_280, 1, 1, len(chain)) + chain
    name = struct.pack("!H", 0xC000 | places[-1] + 2 & 0xFFFF) + struct.pack("!HHIH", 1, 1, 1, 4) + b"abcd"
    began = time.process_time()
    found = parse_message(head + holder + name * (MAX_ANSWERS - 1))
    assert time.process_time() - began < 2
    assert found is not None and found.problem is not None


def test_a_cut_message_gives_what_there_was() -> None:
    raw = answer_to("www.example.com", "A", ("www.example.com.", 9, "A", "192.0.2.1"),
                    ("www.example.com.", 9, "A", "192.0.2.2")).to_wire()  # fmt: skip
    found = parse_message(raw[:-3])
    assert found is not None and found.problem is not None
    assert found.questions == (Question("www.example.com", "A"),)
    assert [answer.value for answer in found.answers] == ["192.0.2.1"]


def test_too_short_is_nothing() -> None:
    assert parse_message(bytes(11)) is None


def test_an_update_has_no_answers() -> None:
    import dns.update

    update = dns.update.Update("example.com")
    update.add("x", 300, "A", "192.0.2.1")
    found = parse_message(update.to_wire())
    assert found is not None and found.opcode == "UPDATE" and found.answers == ()


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    found = parse_message(data)
    assert (found is None) == (len(data) < 12)


@given(st.integers(0, 0xFFFF), st.tuples(*[st.integers(0, 5)] * 4), st.binary(max_size=200))
def test_any_bytes_behind_a_header(flags: int, counts: tuple[int, int, int, int], data: bytes) -> None:
    found = parse_message(struct.pack("!HHHHHH", 9, flags, *counts) + data)
    assert found is not None and found.id == 9 and found.response == bool(flags & 0x8000)


@given(st.integers(1, 65_535), st.binary(max_size=120))
def test_any_data_of_any_type(kind: int, data: bytes) -> None:
    head = struct.pack("!HHHHHH", 9, 0x8180, 0, 1, 0, 0)
    found = parse_message(head + b"\x01a\0" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data)
    assert found is not None and len(found.answers) <= 1
