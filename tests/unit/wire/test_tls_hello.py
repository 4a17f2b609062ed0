"""ClientHellos of OpenSSL and of nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.dns import Name
from hostscope.wire.hello import MAX_DATAGRAMS, Hellos
from hostscope.wire.tls import hello_in_records, parse_client_hello
from tests.unit.wire.hellos import client_message, client_records, server_name

RECORDS = client_records("Shop.Example.com", ("h2", "http/1.1"))
MESSAGE = client_message("shop.example.com")


def test_name_and_protocols_of_openssl() -> None:
    hello = hello_in_records(RECORDS)
    assert hello is not None
    assert hello.server_name == "shop.example.com"
    assert hello.alpn == ("h2", "http/1.1")
    assert hello.complete and not hello.ech


def test_a_client_without_a_name() -> None:
    hello = hello_in_records(client_records(None))
    assert hello is not None and hello.server_name is None and hello.complete
    assert server_name(client_records(None), "tcp") is None


def test_the_source_is_said() -> None:
    assert server_name(RECORDS, "tcp") == Name("shop.example.com", "tls", ("h2", "http/1.1"))


def test_every_cut_gives_the_name_or_nothing() -> None:
    named = []
    for end in range(len(RECORDS)):
        hello = hello_in_records(RECORDS[:end])
        assert hello is None or not hello.complete
        if hello and hello.server_name:
            assert hello.server_name == "shop.example.com"
            named.append(end)
    assert named and named == list(range(named[0], len(RECORDS))), "known from one byte on, and for good"


def test_a_hello_in_many_records() -> None:
    pieces = [MESSAGE[at : at + 40] for at in range(0, len(MESSAGE), 40)]
    records = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    hello = hello_in_records(records)
    assert hello is not None and hello.server_name == "shop.example.com" and hello.complete


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def message_with(*extensions: bytes) -> bytes:
    joined = b"".join(extensions)
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + len(joined).to_bytes(2, "big") + joined
    return b"\x01" + len(body).to_bytes(3, "big") + body


def sni(name: bytes) -> bytes:
    entry = b"\0" + len(name).to_bytes(2, "big") + name
    return extension(0, len(entry).to_bytes(2, "big") + entry)


def test_a_hello_with_an_encrypted_one_inside_says_so() -> None:
    hello = parse_client_hello(message_with(sni(b"cover.example"), extension(0xFE0D, b"\0" * 40)))
    assert hello is not None and hello.ech and hello.server_name == "cover.example"


def test_the_first_of_two_names_counts() -> None:
    hello = parse_client_hello(message_with(sni(b"one.example"), sni(b"two.example")))
    assert hello is not None and hello.server_name == "one.example"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"a.example.", "a.example"),
        (b"", None),
        (b".", None),
        (b"x" * 256, None),
        (b"\xff\x1b[2J", "\U0010eeff\x1b[2j"),
    ],
)
def test_names_that_are_none(raw: bytes, name: str | None) -> None:
    hello = parse_client_hello(message_with(sni(raw)))
    assert hello is not None and hello.server_name == name


def test_lying_lengths() -> None:
    for place in (1, 2, 3):
        lying = bytearray(MESSAGE)
        lying[place] = 0xFF
        hello = parse_client_hello(bytes(lying))
        assert hello is None or not hello.complete
    inner = message_with(extension(0, b"\xff\xff\0\xff\xffname"))
    hello = parse_client_hello(inner)
    assert hello is not None and hello.server_name is None and hello.complete


def test_no_hello() -> None:
    server_hello = b"\x02" + MESSAGE[1:]
    assert parse_client_hello(server_hello) is None
    assert hello_in_records(b"\x16\x03\x01" + len(server_hello).to_bytes(2, "big") + server_hello) is None
    assert hello_in_records(b"\x17\x03\x03\x00\x20" + bytes(32)) is None


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    parse_client_hello(data)
    parse_client_hello(b"\x01\x00" + data)
    hello_in_records(data)
    for protocol in ("tcp", "udp", "quic", "sctp"):
        server_name(data, protocol)


@given(st.integers(0, len(RECORDS) - 1), st.integers(0, 255))
def test_one_changed_byte(place: int, value: int) -> None:
    changed = bytearray(RECORDS)
    changed[place] = value
    hello = hello_in_records(bytes(changed))
    assert hello is None or hello.server_name is None or len(hello.server_name) < 256


def test_segments_in_any_order() -> None:
    first, second = RECORDS[:60], RECORDS[60:]
    hellos = Hellos()
    assert hellos.feed("flow", "tcp", first, 0xFFFFFFF0) is None
    name = hellos.feed("flow", "tcp", second, (0xFFFFFFF0 + 60) & 0xFFFFFFFF)
    assert name == Name("shop.example.com", "tls", ("h2", "http/1.1"))
    assert hellos.given_up == 0


def test_a_segment_that_comes_late() -> None:
    hellos = Hellos()
    assert hellos.feed(1, "tcp", RECORDS[:30], 100) is None
    assert hellos.feed(1, "tcp", RECORDS[90:], 190) is None
    name = hellos.feed(1, "tcp", RECORDS[30:90], 130)
    assert name is not None and name.domain == "shop.example.com"


def test_a_repeated_segment_changes_nothing() -> None:
    hellos = Hellos()
    for _ in range(2):
        assert hellos.feed(1, "tcp", RECORDS[:30], 100) is None
    assert hellos.feed(1, "tcp", bytes(30), 100) is None, "what came first at a place stays"
    name = hellos.feed(1, "tcp", RECORDS[30:], 130)
    assert name is not None and name.domain == "shop.example.com"


def test_a_flow_that_never_ends_is_given_up() -> None:
    hellos = Hellos()
    for number in range(MAX_DATAGRAMS):
        assert hellos.feed(1, "tcp", b"GET " if number == 0 else b"x", number and number + 3) is None
    assert hellos.given_up == 1 and len(hellos) == 0


def test_the_number_of_open_flows_is_bounded() -> None:
    hellos = Hellos(limit=10)
    for flow in range(25):
        hellos.feed(flow, "tcp", RECORDS[:20], 0)
    assert len(hellos) == 10 and hellos.given_up == 15


def test_other_flows_take_no_room() -> None:
    hellos = Hellos()
    assert hellos.feed(1, "tcp", b"SSH-2.0-OpenSSH_9\r\n" * 400, 0) is None
    assert hellos.feed(2, "tcp", b"\x00\x01", 0) is None
    assert hellos.feed(3, "udp", b"\x00\x01", None) is None
    assert len(hellos) == 0
