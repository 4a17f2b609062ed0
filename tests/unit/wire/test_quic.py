"""QUIC Initial packets: those of the RFCs, those sealed here, and garbage."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.model.dns import Name
from hostscope.wire import quic
from hostscope.wire.hello import Hellos
from tests.unit.wire.hellos import CONNECTION, RFC_CRYPTO_FRAME, client_message, crypto, seal, server_name

V2 = 0x6B3343CF
VECTORS = {
    1: (
        "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2",
        "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11", "e221af44860018ab0856972e194cd934",
    ),
    V2: (
        "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9",
        "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485", "a18b2faa745b6fe189cf772a9f84cbfc",
    ),
}  # fmt: skip
"""Keys of the client, and how its protected packet begins and ends: RFC 9001 A.1 and A.2, RFC 9369 A.1 and A.2.

A packet that ends with their authentication tag is theirs.
"""
MESSAGE = client_message("video.example.net", ("h3",))


def rfc_packet(version: int) -> bytes:
    packet = seal(RFC_CRYPTO_FRAME, 2, version, least=1162)
    _, _, _, begin, end = VECTORS[version]
    assert len(packet) == 1200
    assert packet.startswith(bytes.fromhex(begin)) and packet.endswith(bytes.fromhex(end))
    return packet


@pytest.mark.parametrize("version", VECTORS)
def test_keys_of_the_rfcs(version: int) -> None:
    keys = quic.client_keys(version, CONNECTION)
    assert [keys.key.hex(), keys.iv.hex(), keys.header.hex()] == list(VECTORS[version][:3])


@pytest.mark.parametrize("version", VECTORS)
def test_packets_of_the_rfcs(version: int) -> None:
    assert server_name(rfc_packet(version), "udp") == Name("example.com", "quic", ("alpn",))


@pytest.mark.parametrize("version", VECTORS)
@pytest.mark.parametrize("number_bytes", [1, 2, 3, 4])
def test_a_hello_over_two_packets(version: int, number_bytes: int) -> None:
    """The name stands in the second, as with large post-quantum key shares."""
    cut = MESSAGE.index(b"video.example.net") + 5
    one = seal(crypto(0, MESSAGE[:cut]), 0, version, number_bytes=number_bytes, least=1000)
    two = seal(crypto(cut, MESSAGE[cut:]), 1, version, number_bytes=number_bytes, token=b"t" * 70, least=1000)
    for packets in ((one, two), (two, one), (one, one, two)):
        hellos = Hellos()
        names = [hellos.feed("flow", "udp", packet) for packet in packets]
        assert names[:-1] == [None] * (len(packets) - 1)
        assert names[-1] == Name("video.example.net", "quic", ("h3",))


def test_frames_in_disorder() -> None:
    """What browsers do on purpose: small pieces, out of order, with PING and PADDING between."""
    pieces = [(at, MESSAGE[at : at + 31]) for at in range(0, len(MESSAGE), 31)]
    random.Random(1).shuffle(pieces)
    frames = b"".join(b"\x01" + crypto(at, data) + b"\0" * 7 for at, data in pieces)
    assert server_name(seal(frames), "quic") == Name("video.example.net", "quic", ("h3",))


def test_acknowledgements_are_passed_over() -> None:
    frames = b"\x02\x05\x00\x01\x00\x01\x02" + b"\x03\x05\x00\x00\x00\x01\x02\x03" + crypto(0, MESSAGE)
    found = server_name(seal(frames), "udp")
    assert found is not None and found.domain == "video.example.net"


def test_packets_in_one_datagram() -> None:
    cut = len(MESSAGE) // 2
    datagram = seal(crypto(0, MESSAGE[:cut]), 0) + seal(crypto(cut, MESSAGE[cut:]), 1)
    found = server_name(datagram, "udp")
    assert found is not None and found.domain == "video.example.net"


def test_a_later_packet_with_another_identifier() -> None:
    """Once the server has answered, packets name the identifier it chose; the keys stay."""
    cut = MESSAGE.index(b"video.example.net")
    hellos = Hellos()
    assert hellos.feed(1, "udp", seal(crypto(0, MESSAGE[:cut]), 0)) is None
    later = seal(crypto(cut, MESSAGE[cut:]), 1, connection=b"server's", keys_of=CONNECTION)
    found = hellos.feed(1, "udp", later)
    assert found is not None and found.domain == "video.example.net"


def test_after_a_retry_the_new_identifier_gives_the_keys() -> None:
    hellos = Hellos()
    cut = MESSAGE.index(b"video.example.net")
    assert hellos.feed(1, "udp", seal(crypto(0, MESSAGE[:cut]), 0)) is None
    found = hellos.feed(1, "udp", seal(crypto(0, MESSAGE), 1, connection=b"retried", token=b"token"))
    assert found is not None and found.domain == "video.example.net"


def test_a_changed_packet_is_not_believed() -> None:
    packet = bytearray(seal(crypto(0, MESSAGE)))
    packet[-1] ^= 1
    assert server_name(bytes(packet), "udp") is None


def test_other_versions_and_other_packets() -> None:
    packet = seal(crypto(0, MESSAGE))
    assert not quic.is_initial(packet[:1] + b"\xff\x00\x00\x1d" + packet[5:])
    assert not quic.is_initial(bytes([packet[0] | 0x30]) + packet[1:]), "Retry"
    assert not quic.is_initial(b"\x40" + packet[1:]), "short header"
    assert server_name(b"", "udp") is None


def test_lying_lengths() -> None:
    for lie in (b"\xff", b"\x80\0\0\0", b"\xc0" + b"\xff" * 7):
        head = b"\xc3\0\0\0\x01\x08" + CONNECTION + b"\0"
        assert list(quic.initials(head + lie + bytes(100))) == []
        assert list(quic.initials(head + b"\0" + lie + bytes(40))) == []
    assert list(quic.initials(b"\xc3\0\0\0\x01\xff" + bytes(400))) == [], "identifiers have 20 bytes at most"
    assert list(quic.crypto_frames(b"\x06\x00\x7f\xffshort")) == []
    assert list(quic.crypto_frames(b"\x02\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00")) == []


def test_crypto_far_away_is_not_kept() -> None:
    hello = quic.QuicHello()
    found = hello.feed(seal(crypto(1 << 29, b"x" * 30) + crypto(0, MESSAGE[:10])))
    assert found is not None and not found.complete and found.server_name is None


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for head in (b"", b"\xc3\0\0\0\x01", b"\xd3\x6b\x33\x43\xcf", b"\xc3\0\0\0\x01\x08" + CONNECTION + b"\0\0\x40\x40"):
        quic.QuicHello().feed(head + data)
    list(quic.crypto_frames(data))


@settings(max_examples=60)
@given(st.binary(min_size=20, max_size=300))
def test_any_frames_in_a_genuine_packet(frames: bytes) -> None:
    quic.QuicHello().feed(seal(frames))
