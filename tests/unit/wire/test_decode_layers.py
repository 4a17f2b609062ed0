"""One frame for each layer, with the values it was made of."""

import ipaddress

import numpy as np
import pytest

from hostscope.wire.batch import Link, PacketBatch
from hostscope.wire.decode import NESTING, decode
from hostscope.wire.decoded import Decoded, Fragment, Problem, Tunnel
from hostscope.wire.fragments import FragmentTable
from hostscope.wire.ip import EXTENSION_DEPTH
from tests.unit.wire import layers as f

INNER = f.ipv4(6, f.tcp(1000, 80, b"inner"), "192.0.2.1", "192.0.2.2")


def one(packet: bytes, link: int = Link.ETHERNET, length: int | None = None) -> Decoded:
    return decode(f.batch([packet], link, lengths=None if length is None else [length]))


def ends(out: Decoded, index: int = 0) -> tuple[str, int, str, int]:
    """Source and destination with ports."""
    found: list[str | int] = []
    for high, low, port in (
        (out.source_high, out.source_low, out.source_port),
        (out.destination_high, out.destination_low, out.destination_port),
    ):
        number = int(high[index]) << 64 | int(low[index])
        make = ipaddress.IPv4Address if out.family[index] == 4 else ipaddress.IPv6Address
        found += [str(make(number)), int(port[index])]
    return tuple(found)  # type: ignore[return-value]


def payload(packet: bytes, out: Decoded) -> bytes:
    begin = int(out.payload_offset[0])
    return packet[begin : begin + int(out.payload_captured[0])]


def test_tcp_over_ipv4() -> None:
    packet = f.ethernet(0x0800, f.ipv4(6, f.tcp(40000, 443, b"hello", 0x18), ttl=55) + b"padding")
    out = one(packet)
    assert ends(out) == ("10.0.0.1", 40000, "10.0.0.2", 443)
    assert (out.protocol[0], out.tcp_flags[0], out.ttl[0], out.problem[0]) == (6, 0x18, 55, Problem.NONE)
    assert payload(packet, out) == b"hello"


def test_udp_over_ipv6() -> None:
    packet = f.ethernet(0x86DD, f.ipv6(17, f.udp(5353, 53, b"query")))
    out = one(packet)
    assert ends(out) == ("fd00::1", 5353, "fd00::2", 53)
    assert (out.protocol[0], out.ttl[0], payload(packet, out)) == (17, 61, b"query")


@pytest.mark.parametrize(("kind", "names"), [
    (((0x8100, 7),), (7, -1)),
    (((0x88A8, 7), (0x8100, 8)), (7, 8)),
    (((0x88A8, 7), (0x8100, 8), (0x8100, 9)), (7, 8)),
    (((0x9100, 4095), (0x9200, 0)), (4095, 0)),
])  # fmt: skip
def test_vlan_tags(kind: tuple[tuple[int, int], ...], names: tuple[int, int]) -> None:
    out = one(f.ethernet(0x0800, f.ipv4(17, f.udp(1, 2, b"x")), kind))
    assert ends(out) == ("10.0.0.1", 1, "10.0.0.2", 2)
    assert (out.vlan_outer[0], out.vlan_inner[0]) == names


def test_more_vlan_tags_than_are_followed() -> None:
    out = one(f.ethernet(0x0800, INNER, ((0x8100, 1),) * 5))
    assert (out.family[0], out.problem[0]) == (0, Problem.TOO_DEEP)


def test_a_tag_that_the_kernel_took_out_is_the_outer_one() -> None:
    frames = f.batch([f.ethernet(0x0800, INNER, ((0x8100, 8),)), f.ethernet(0x0800, INNER)])
    stripped = PacketBatch(
        frames.data, frames.offsets, frames.captured, frames.lengths, frames.at_ns, frames.interface,
        vlan=np.array([7, -1], np.int16),
    )  # fmt: skip
    out = decode(stripped)
    assert out.vlan_outer.tolist() == [7, -1]
    assert out.vlan_inner.tolist() == [8, -1]


@pytest.mark.parametrize(("link", "head"), [
    (Link.LINUX_SLL, bytes(14) + b"\x08\0"),
    (Link.LINUX_SLL2, b"\x08\0" + bytes(18)),
    (Link.NULL, b"\x02\0\0\0"),
    (Link.NULL, b"\0\0\0\x02"),
    (Link.LOOP, b"\0\0\0\x02"),
    (Link.RAW, b""),
    (Link.RAW_BSD, b""),
    (Link.RAW_OPENBSD, b""),
    (Link.IPV4, b""),
])  # fmt: skip
def test_links(link: Link, head: bytes) -> None:
    out = one(head + INNER, link)
    assert ends(out) == ("192.0.2.1", 1000, "192.0.2.2", 80)
    assert out.problem[0] == Problem.NONE


@pytest.mark.parametrize("family", [10, 24, 28, 30])
def test_loopback_with_each_systems_number_of_ipv6(family: int) -> None:
    out = one(family.to_bytes(4, "little") + f.ipv6(17, f.udp(1, 2)), Link.NULL)
    assert ends(out) == ("fd00::1", 1, "fd00::2", 2)


def test_unknown_link() -> None:
    assert one(INNER, 147).problem[0] == Problem.UNKNOWN_LINK


def test_arp_is_no_ip() -> None:
    out = one(f.ethernet(0x0806, bytes(28)))
    assert (out.family[0], out.problem[0]) == (0, Problem.NOT_IP)


def test_ipv4_options() -> None:
    packet = f.ethernet(0x0800, f.ipv4(6, f.tcp(1, 2, b"data"), options=b"\x94\x04\0\0" + bytes(36)))
    out = one(packet)
    assert ends(out) == ("10.0.0.1", 1, "10.0.0.2", 2)
    assert payload(packet, out) == b"data"


def test_ipv6_extension_headers() -> None:
    chain = f.extension(43) + f.extension(60, 2) + f.extension(51) + f.authentication(6) + f.tcp(1, 2, b"data")
    packet = f.ethernet(0x86DD, f.ipv6(0, chain))
    out = one(packet)
    assert ends(out) == ("fd00::1", 1, "fd00::2", 2)
    assert (out.protocol[0], payload(packet, out)) == (6, b"data")


@pytest.mark.parametrize("more", [0, 1])
def test_a_chain_of_extension_headers_is_bounded(more: int) -> None:
    count = EXTENSION_DEPTH + more
    chain = b"".join(f.extension(60) for _ in range(count - 1)) + f.extension(17) + f.udp(1, 2)
    out = one(f.ethernet(0x86DD, f.ipv6(60, chain)))
    assert out.problem[0] == (Problem.TOO_DEEP if more else Problem.NONE)
    assert out.family[0] == 6


def test_icmp_echo_has_its_identifier_on_both_sides() -> None:
    out = decode(f.batch([
        f.ethernet(0x0800, f.ipv4(1, f.icmp(8, 0, 77, b"ping"))),
        f.ethernet(0x86DD, f.ipv6(58, f.icmp(129, 0, 78))),
        f.ethernet(0x0800, f.ipv4(1, f.icmp(3, 1, 79))),
    ]))  # fmt: skip
    assert out.source_port.tolist() == out.destination_port.tolist() == [77, 78, 0]
    assert out.icmp.tolist() == [0x0800, 0x8100, 0x0301]
    assert out.payload_bytes.tolist() == [4, 0, 0]


@pytest.mark.parametrize(("protocol", "body"), [(132, f.sctp(1, 2, b"data")), (136, f.udp(1, 2, b"data", 8))])
def test_sctp_and_udp_lite(protocol: int, body: bytes) -> None:
    packet = f.ethernet(0x0800, f.ipv4(protocol, body))
    out = one(packet)
    assert ends(out) == ("10.0.0.1", 1, "10.0.0.2", 2)
    assert (out.protocol[0], payload(packet, out)) == (protocol, b"data")


TUNNELS = [
    (f.ipv4(47, f.gre(0x0800, INNER)), Tunnel.GRE, 0),
    (f.ipv4(47, f.gre(0x0800, INNER, key=0xDEADBEEF, checksum=True, sequence=True)), Tunnel.GRE, 0xDEADBEEF),
    (f.ipv4(47, f.gre(0x6558, f.ethernet(0x0800, INNER, ((0x8100, 5),)), key=6)), Tunnel.GRE, 6),
    (f.ipv4(17, f.udp(50000, 4789, f.vxlan(0xABCDEF, f.ethernet(0x0800, INNER)))), Tunnel.VXLAN, 0xABCDEF),
    (f.ipv4(4, INNER), Tunnel.IP, 0),
]


@pytest.mark.parametrize(("packet", "tunnel", "number"), TUNNELS)
def test_tunnels_over_ipv4(packet: bytes, tunnel: Tunnel, number: int) -> None:
    out = one(f.ethernet(0x0800, packet))
    assert ends(out) == ("192.0.2.1", 1000, "192.0.2.2", 80)
    assert (out.tunnel[0], out.tunnel_id[0], out.problem[0], out.vlan_outer[0]) == (tunnel, number, Problem.NONE, -1)
    assert (out.outer_family[0], out.outer_source_low[0], out.outer_destination_low[0]) == (4, 0x0A000001, 0x0A000002)
    assert out.payload_bytes[0] == 5


def test_ipv6_in_ipv4_and_ipv4_in_ipv6() -> None:
    six = one(f.ethernet(0x0800, f.ipv4(41, f.ipv6(17, f.udp(1, 2)))))
    assert ends(six) == ("fd00::1", 1, "fd00::2", 2)
    assert six.outer_family[0] == 4
    four = one(f.ethernet(0x86DD, f.ipv6(4, INNER)))
    assert ends(four) == ("192.0.2.1", 1000, "192.0.2.2", 80)
    assert (four.outer_family[0], int(four.outer_source_high[0]) >> 48) == (6, 0xFD00)


@pytest.mark.parametrize("more", [0, 1])
def test_nesting_is_bounded(more: int) -> None:
    packet = INNER
    for _ in range(NESTING - 1 + more):
        packet = f.ipv4(4, packet)
    out = one(f.ethernet(0x0800, packet))
    assert out.problem[0] == (Problem.TOO_DEEP if more else Problem.NONE)
    assert out.protocol[0] == (4 if more else 6)


def test_a_tunnel_that_carries_something_else_is_a_flow_itself() -> None:
    out = one(f.ethernet(0x0800, f.ipv4(17, f.udp(50000, 4789, f.vxlan(1, f.ethernet(0x0806, bytes(28)))))))
    assert ends(out) == ("10.0.0.1", 50000, "10.0.0.2", 4789)
    assert out.tunnel[0] == Tunnel.NONE


@pytest.mark.parametrize("flags", [0x4000, 0x0001, 0x0002, 0x0004])
def test_gre_that_is_not_followed(flags: int) -> None:
    """Source routing, and versions but 0."""
    out = one(f.ethernet(0x0800, f.ipv4(47, flags.to_bytes(2, "big") + b"\x08\0" + INNER)))
    assert (out.protocol[0], out.tunnel[0], out.problem[0]) == (47, Tunnel.NONE, Problem.NONE)


def fragments_of(number: int) -> list[bytes]:
    """A datagram of three fragments."""
    first = f.ipv4(17, f.udp(500, 600, b"a" * 8, 32), number=number, field=0x2000)
    return [
        f.ethernet(0x0800, first),
        f.ethernet(0x0800, f.ipv4(17, b"b" * 8, number=number, field=0x2002)),
        f.ethernet(0x0800, f.ipv4(17, b"c" * 8, number=number, field=0x0003)),
    ]


def test_later_fragments_get_the_ports_of_the_first() -> None:
    out = decode(f.batch(fragments_of(9)))
    assert out.source_port.tolist() == [500] * 3
    assert out.fragment.tolist() == [Fragment.FIRST, Fragment.LATER, Fragment.LATER]
    assert out.payload_bytes.tolist() == [8, 8, 8]
    assert out.problem.tolist() == [Problem.NONE] * 3


def test_fragments_across_batches_and_without_a_first() -> None:
    table, (first, second, third) = FragmentTable(), fragments_of(9)
    decode(f.batch([first]), table)
    assert decode(f.batch([second, third]), table).destination_port.tolist() == [600, 600]
    other = decode(f.batch([fragments_of(10)[1]]), table)
    assert (other.destination_port[0], other.problem[0]) == (0, Problem.FRAGMENT)


def test_the_fragment_table_forgets_the_oldest() -> None:
    table = FragmentTable(64)
    for number in range(200):
        decode(f.batch([fragments_of(number)[0]]), table)
    late = decode(f.batch([fragments_of(number)[2] for number in range(200)]), table)
    known = late.problem == Problem.NONE
    assert known[-32:].all()
    assert not known[:136].any()


def test_ipv6_fragments_with_an_extension_header_before_the_transport() -> None:
    first = f.fragment_header(60, 0, True, 5) + f.extension(17) + f.udp(500, 600, b"a" * 8, 64)
    later = f.fragment_header(60, 3, False, 5) + b"b" * 8
    out = decode(f.batch([f.ethernet(0x86DD, f.ipv6(44, part)) for part in (first, later)]))
    assert out.protocol.tolist() == [17, 17]
    assert out.source_port.tolist() == [500, 500]


def test_every_snap_length() -> None:
    """Addresses, ports, flags and payload appear as soon as their bytes are there; nothing else changes."""
    packet = f.ethernet(0x0800, f.ipv4(6, f.tcp(1, 2, b"data", 0x12)))
    out = decode(f.batch([packet[:size] for size in range(len(packet) + 1)], lengths=[len(packet)] * (len(packet) + 1)))
    sizes = np.arange(len(packet) + 1)
    assert (out.family == np.where(sizes >= 34, 4, 0)).all()
    assert (out.source_port == np.where(sizes >= 38, 1, 0)).all()
    assert (out.tcp_flags == np.where(sizes >= 54, 0x12, 0)).all()
    assert (out.problem == np.where(sizes >= 54, Problem.NONE, Problem.TRUNCATED)).all()
    assert (out.payload_captured == np.where(sizes >= 54, sizes - 54, 0)).all()
    assert (out.payload_bytes[sizes >= 54] == 4).all()


@pytest.mark.parametrize("packet", [
    f.ipv4(6, f.tcp(1, 2), total=19), f.ipv4(6, f.tcp(1, 2))[:12], b"\x44" + f.ipv4(6, f.tcp(1, 2))[1:],
])  # fmt: skip
def test_an_impossible_ip_header(packet: bytes) -> None:
    out = one(f.ethernet(0x0800, packet))
    assert (out.family[0], out.problem[0]) == (0, Problem.MALFORMED)


def test_a_datagram_that_claims_more_than_its_frame() -> None:
    out = one(f.ethernet(0x0800, f.ipv4(17, f.udp(1, 2, b"abc"), total=1400)))
    assert ends(out) == ("10.0.0.1", 1, "10.0.0.2", 2)
    assert (out.problem[0], out.payload_bytes[0]) == (Problem.MALFORMED, 3)


def test_a_segment_too_long_for_the_length_field() -> None:
    out = one(f.ethernet(0x0800, f.ipv4(6, f.tcp(1, 2, b"x" * 100), total=0)), length=70_054)
    assert (out.problem[0], out.payload_bytes[0], out.payload_captured[0]) == (Problem.NONE, 70_000, 100)


def test_an_empty_batch() -> None:
    assert len(decode(f.batch([]))) == 0


def test_frames_of_a_ring_are_not_copied() -> None:
    ring = np.zeros((3, 128), np.uint8)
    packet = f.ethernet(0x0800, INNER)
    ring[:, 66 : 66 + len(packet)] = np.frombuffer(packet, np.uint8)
    size = np.full(3, len(packet), np.uint32)
    batch = PacketBatch.of_frames(ring, 66, size, size, np.zeros(3, np.int64), np.zeros(3, np.uint16))
    assert np.shares_memory(batch.data, ring)
    assert batch.packet(2) == packet
    assert decode(batch).source_port.tolist() == [1000] * 3
