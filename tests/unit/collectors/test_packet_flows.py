"""Flows of packets, and the names that are read from them."""

from hostscope.collectors.packet_flows import PacketFlows
from tests.unit.wire.frames import answer, batch, tcp, udp
from tests.unit.wire.hellos import client_message, client_records, crypto, seal

CLIENT, SERVER = ("10.0.0.1", 40_000), ("192.0.2.1", 443)
RECORDS, MESSAGE = client_records("shop.example"), client_message("shop.example")


def names(flows: PacketFlows) -> list[tuple[str, str] | None]:
    return [flows.domain_of(flow) for flow in flows.flows()]


def test_a_hello_over_two_segments_in_two_batches() -> None:
    """As with the large key shares of post-quantum cryptography."""
    cut = RECORDS.index(b"shop.example") + 4
    flows = PacketFlows(10)
    flows.feed(batch(tcp(CLIENT, SERVER, RECORDS[:cut], 0xFFFFFFFF)))
    flows.feed(batch(tcp(SERVER, CLIENT, b"\x16\x03\x03\x00\x7a\x02" + bytes(60), 7)))
    flows.feed(batch(tcp(CLIENT, SERVER, RECORDS[cut:], 0xFFFFFFFF + cut)))
    assert names(flows) == [("shop.example", "tls")]


def test_a_quic_hello_over_two_datagrams() -> None:
    cut = MESSAGE.index(b"shop.example") + 4
    packets = (seal(crypto(0, MESSAGE[:cut]), 0), seal(crypto(cut, MESSAGE[cut:]), 1))
    flows = PacketFlows(10)
    flows.feed(batch(*(udp(CLIENT, SERVER, packet) for packet in packets)))
    assert names(flows) == [("shop.example", "quic")]


def test_what_goes_to_a_port_of_dns_is_no_hello() -> None:
    flows = PacketFlows(10)
    flows.feed(batch(tcp(CLIENT, ("192.0.2.1", 53), RECORDS, 1)))
    assert names(flows) == [None]


def test_without_a_hello_an_answer_names_the_address() -> None:
    flows = PacketFlows(10)
    flows.feed(batch(udp(("192.0.2.53", 53), CLIENT, answer(value=SERVER[0])), tcp(CLIENT, SERVER, b"x", 1)))
    assert ("www.example.com", "dns") in names(flows)
