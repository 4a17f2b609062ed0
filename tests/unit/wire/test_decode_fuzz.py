"""The column decoder against a slow one, packet by packet: any bytes, and good packets with a few bytes changed."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.wire.batch import Link, PacketBatch
from hostscope.wire.decode import decode
from hostscope.wire.decoded import Decoded, Fragment
from hostscope.wire.dense import decode_dense
from tests.unit.wire import layers as f
from tests.unit.wire.reference import Seen, read

LINKS = [*Link, 147]
INNER = f.ipv4(6, f.tcp(1000, 80, b"inner", options=bytes(8)), "192.0.2.1", "192.0.2.2")
INNER6 = f.ipv6(17, f.udp(1001, 53, b"inner"))
GOOD = [
    f.ethernet(0x0800, f.ipv4(6, f.tcp(1, 2, b"abc"))),
    f.ethernet(0x0800, f.ipv4(17, f.udp(3, 4, b"hello")) + bytes(9)),
    f.ethernet(0x86DD, f.ipv6(6, f.tcp(5, 6, b"x" * 40, 0x02, bytes(12)))),
    f.ethernet(0x86DD, f.ipv6(17, f.udp(7, 8, b"yy"))),
    f.ethernet(0x0800, f.ipv4(17, f.udp(9, 10, b"q"), options=bytes(8)), ((0x88A8, 100), (0x8100, 200))),
    f.ethernet(0x0800, f.ipv4(1, f.icmp(8, 0, 77, b"ping"))),
    f.ethernet(0x86DD, f.ipv6(58, f.icmp(129, 0, 78, b"pong"))),
    f.ethernet(0x0800, f.ipv4(132, f.sctp(11, 12, b"chunk"))),
    f.ethernet(0x0800, f.ipv4(47, f.gre(0x0800, INNER, key=5, checksum=True, sequence=True))),
    f.ethernet(0x0800, f.ipv4(47, f.gre(0x6558, f.ethernet(0x86DD, INNER6, ((0x8100, 9),))))),
    f.ethernet(0x0800, f.ipv4(17, f.udp(50000, 4789, f.vxlan(42, f.ethernet(0x0800, INNER))))),
    f.ethernet(0x86DD, f.ipv6(41, f.ipv6(4, f.ipv4(4, INNER)))),
    f.ethernet(0x0800, f.ipv4(41, INNER6)),
    f.ethernet(0x86DD, f.ipv6(0, f.extension(43) + f.extension(60, 1) + f.extension(51) + f.authentication(17)
               + f.udp(13, 14, b"deep"))),
    f.ethernet(0x86DD, f.ipv6(44, f.fragment_header(17, 0, True, 99) + f.udp(15, 16, b"first", 900))),
    f.ethernet(0x86DD, f.ipv6(44, f.fragment_header(17, 5, False, 98) + b"later")),
    f.ethernet(0x0800, f.ipv4(17, f.udp(17, 18, b"first", 3000), field=0x2000)),
    f.ethernet(0x0800, f.ipv4(6, f.tcp(19, 20, b"segment" * 20), total=0)),
    f.ethernet(0x0800, f.ipv4(6, f.tcp(21, 22, b"first"), field=0x2000)),
    f.ethernet(0x0806, bytes(28)),
]  # fmt: skip


def compare(batch: PacketBatch, out: Decoded) -> None:
    """Every column of every packet."""
    for index in range(len(batch)):
        wanted = read(batch.packet(index), int(batch.lengths[index]), batch.link)
        found = row(out, index, int(batch.offsets[index]))
        if wanted.fragment == Fragment.LATER:  # their ports, protocol and problem depend on other packets
            for one in (wanted, found):
                one.ports, one.problem, one.protocol = (0, 0), 0, 0
        assert found == wanted, batch.packet(index).hex()


def row(out: Decoded, index: int, begin: int) -> Seen:
    """One packet's values in the reference's words."""

    def one(name: str) -> int:
        return int(getattr(out, name)[index])

    def address(prefix: str, family: int) -> bytes:
        raw = one(f"{prefix}_high").to_bytes(8, "big") + one(f"{prefix}_low").to_bytes(8, "big")
        return {0: b"", 4: raw[12:], 6: raw}[family]

    family, outer = one("family"), one("outer_family")
    payload = (one("payload_offset") - begin, one("payload_bytes"), one("payload_captured"))
    return Seen(
        family, one("protocol"), address("source", family), address("destination", family),
        (one("source_port"), one("destination_port")), one("tcp_flags"), one("icmp"),
        payload if family else (0, 0, 0), one("ttl"), one("fragment"), one("fragment_id"),
        [vlan for vlan in (one("vlan_outer"), one("vlan_inner")) if vlan >= 0], one("tunnel"), one("tunnel_id"),
        (outer, address("outer_source", outer), address("outer_destination", outer)), one("problem"),
    )  # fmt: skip


def check(packets: list[bytes], link: int, lengths: list[int], noise: bytes) -> None:
    batch = f.batch(packets, link, lengths=lengths, before=noise, after=noise)
    compare(batch, decode(batch))


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, int]:
    """A good packet with some bytes changed and perhaps cut short, and its length on the wire."""
    packet = bytearray(draw(st.sampled_from(GOOD)))
    whole = len(packet)
    for _ in range(draw(st.integers(0, 4))):
        packet[draw(st.integers(0, whole - 1))] = draw(
            st.one_of(st.integers(0, 255), st.sampled_from([4, 6, 17, 41, 47]))
        )
    kept = draw(st.one_of(st.just(whole), st.integers(0, whole)))
    return bytes(packet[:kept]), draw(st.sampled_from([whole, kept, whole + 20]))


@settings(max_examples=400, deadline=None)
@given(st.lists(mutated(), min_size=1, max_size=12), st.binary(max_size=80))
def test_changed_packets(packets: list[tuple[bytes, int]], noise: bytes) -> None:
    check([raw for raw, _ in packets], Link.ETHERNET, [length for _, length in packets], noise)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(mutated(), min_size=1, max_size=6), st.sampled_from([Link.RAW, Link.NULL, Link.LINUX_SLL, Link.LINUX_SLL2])
)
def test_changed_packets_behind_other_links(packets: list[tuple[bytes, int]], link: Link) -> None:
    ip = b"\x08\0"
    heads = {
        Link.RAW: b"", Link.NULL: b"\2\0\0\0", Link.LINUX_SLL: bytes(14) + ip, Link.LINUX_SLL2: ip + bytes(18),
    }  # fmt: skip
    check([heads[link] + raw[14:] for raw, _ in packets], link, [length for _, length in packets], b"")


USUAL = GOOD[:4]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(USUAL), st.integers(0, 3)), min_size=8, max_size=12), st.lists(mutated()),
    st.sampled_from([Link.ETHERNET, Link.LINUX_SLL, Link.RAW]), st.binary(max_size=80), st.randoms(),
)  # fmt: skip
def test_a_few_others_among_usual_packets(
    usual: list[tuple[bytes, int]], others: list[tuple[bytes, int]], link: Link, noise: bytes, chance: random.Random
) -> None:
    """Where most packets are usual, all are decoded at once; none may take anything from its neighbours."""
    packets = [(raw[: len(raw) - cut], len(raw)) for raw, cut in usual] + others[: len(usual) // 2]
    chance.shuffle(packets)
    skip, head = {Link.ETHERNET: (0, b""), Link.LINUX_SLL: (12, bytes(14)), Link.RAW: (14, b"")}[link]
    check([head + raw[skip:] for raw, _ in packets], link, [length for _, length in packets], noise)


def test_batches_of_usual_packets_are_decoded_at_once() -> None:
    """Otherwise decoding would be right, but slow."""
    for packets in (USUAL * 3, USUAL[:2], USUAL[2:], [*USUAL, *GOOD[-3:]]):
        dense = decode_dense(f.batch(packets))
        assert dense is not None
        assert dense[1].tolist() == list(range(len(USUAL), len(packets)) if packets[-1] == GOOD[-1] else [])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=8), st.sampled_from(LINKS), st.binary(max_size=40))
def test_any_bytes(packets: list[bytes], link: int, noise: bytes) -> None:
    check(packets, link, [len(packet) for packet in packets], noise)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200), st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 2**32 - 1)), min_size=1)
)
def test_batches_that_lie_about_where_packets_are(data: bytes, spans: list[tuple[int, int]]) -> None:
    count = len(spans)
    batch = PacketBatch(
        np.frombuffer(data, np.uint8), np.array([span[0] for span in spans], np.int64),
        np.array([span[1] for span in spans], np.uint32), np.full(count, 60, np.uint32), np.zeros(count, np.int64),
        np.zeros(count, np.uint16),
    )  # fmt: skip
    out = decode(batch)
    held = out.payload_captured > 0
    assert (out.payload_offset[held] + out.payload_captured[held] <= len(data)).all()


def test_lengths_that_are_wrong_by_a_little() -> None:
    """One byte more or less than the frame has, in every length field of every packet."""
    packets = [
        packet[:place] + bytes([(packet[place] + change) & 0xFF]) + packet[place + 1 :]
        for packet in GOOD
        for place in range(14, len(packet))
        for change in (-1, 1)
    ]
    check(packets, Link.ETHERNET, [len(packet) for packet in packets], b"")


def test_what_lies_around_a_packet_changes_nothing() -> None:
    for packet in GOOD:
        for size in range(len(packet) + 1):
            zeros, ones = (
                decode(f.batch([packet[:size]], lengths=[len(packet)], before=noise, after=noise))
                for noise in (bytes(100), b"\xff" * 100)
            )
            for name in Decoded.__struct_fields__:
                assert getattr(zeros, name).tolist() == getattr(ones, name).tolist(), (name, packet.hex(), size)
