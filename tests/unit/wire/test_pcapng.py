"""pcapng files: blocks of every kind, both byte orders, time stamps, damage."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.wire.batch import Link
from hostscope.wire.file_record import FileInterface
from hostscope.wire.pcapng_blocks import parse_interface, parse_names, parse_statistics
from hostscope.wire.ticks import to_ns
from tests.unit.wire.captures import Blocks, opened, packets_of

AT = 1_760_000_000_123_456
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


@ORDERS
def test_packets_of_three_kinds(order: str) -> None:
    blocks = Blocks(order)
    file = opened(
        blocks.section() + blocks.interface(1, (2, b"eth0"), snap=96)
        + blocks.packet(AT, b"one", 0, (1, b"a comment"), longer=4) + blocks.packet(AT + 1, b"second")
        + blocks.old_packet(AT + 2, b"the third") + blocks.simple_packet(b"last", longer=0)
    )  # fmt: skip
    assert packets_of(file) == [
        (AT * 1000, b"one", 7, 0, 1),
        (AT * 1000 + 1000, b"second", 6, 0, 1),
        (AT * 1000 + 2000, b"the third", 9, 0, 1),
        (0, b"last", 4, 0, 1),
    ]
    assert file.interfaces == [FileInterface("eth0", 1, 96)]
    assert file.ending is None


@ORDERS
def test_what_interfaces_and_names_say(order: str) -> None:
    blocks = Blocks(order)
    file = opened(
        blocks.section()
        + blocks.interface(Link.LINUX_SLL, (2, b"any"), (11, b"\0tcp port 80"), (12, b"Linux 6.18"), (9, b"\x09"))
        + blocks.block(4, blocks.options((1, b"\x0a\0\0\1one.test\0other.test\0"), (2, bytes(15) + b"\1six.test\0")))
        + blocks.block(5, blocks.pack("III", 0, 0, 0) + blocks.options((4, blocks.pack("Q", 500)),
                       (5, blocks.pack("Q", 3)), (7, blocks.pack("Q", 4))))
        + blocks.block(0x0000_000A, blocks.pack("II", 0x544C534B, 8) + b"a secret")
        + blocks.block(0x0000_0BAD, blocks.pack("I", 32473) + b"custom")
        + blocks.packet(AT * 1000 + 789, b"x"),
    )  # fmt: skip
    assert packets_of(file) == [(AT * 1000 + 789, b"x", 1, 0, Link.LINUX_SLL)]
    (interface,) = file.interfaces
    assert interface == FileInterface("any", Link.LINUX_SLL, None, "tcp port 80", "Linux 6.18", 500, 7)
    assert file.names == {"10.0.0.1": "other.test", "::1": "six.test"}


def test_sections_have_their_own_interfaces_and_byte_order() -> None:
    parts = []
    for number, order in enumerate("<>><"):
        blocks = Blocks(order)
        parts += [blocks.section(), blocks.interface(1), blocks.interface(Link.RAW)]
        parts += [blocks.packet(AT, b"%d" % number, 1), blocks.packet(AT, b"e%d" % number, 0)]
    file = opened(b"".join(parts))
    found = [(raw, interface, link) for _, raw, _, interface, link in packets_of(file)]
    assert sorted(found) == sorted(
        [(b"%d" % n, n * 2 + 1, Link.RAW) for n in range(4)] + [(b"e%d" % n, n * 2, 1) for n in range(4)]
    )


@pytest.mark.parametrize(("option", "ticks", "nanoseconds"), [
    (b"\x00", 5, 5_000_000_000), (b"\x03", 5, 5_000_000), (b"\x06", 5, 5000), (b"\x09", 5, 5), (b"\x0c", 5999, 5),
    (b"\x7f", 5, 0), (b"\x80", 5, 5_000_000_000), (b"\x8a", 1536, 1_500_000_000), (b"\xa0", 3 << 31, 1_500_000_000),
    (b"\xbf", 1 << 62, 500_000_000), (b"\xc0", 1 << 63, 500_000_000), (b"\xff", 1 << 63, 0),
])  # fmt: skip
def test_resolutions_and_offsets(option: bytes, ticks: int, nanoseconds: int) -> None:
    blocks = Blocks()
    for offset in (0, -7, 1_700_000_000):
        raw = blocks.section() + blocks.interface(1, (9, option), (14, blocks.pack("q", offset)))
        assert packets_of(opened(raw + blocks.packet(ticks, b"x")))[0][0] == nanoseconds + offset * 10**9


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**64 - 1), st.sampled_from([2, 10]), st.integers(0, 127), st.integers(-(2**63), 2**63 - 1))
def test_any_time_stamp(ticks: int, base: int, exponent: int, offset: int) -> None:
    exact = ticks * 10**9 // base**exponent + offset * 10**9
    found = int(to_ns(np.array([ticks], np.uint64), base, exponent, offset)[0])
    if 0 <= exact < 2**63 and ticks * 10**9 // base**exponent < 2**63:
        assert abs(found - exact) <= (1 if base == 2 else 0)


def test_packets_are_cut_to_their_block_and_the_snap_length() -> None:
    blocks = Blocks()
    lying = bytearray(blocks.packet(AT, b"data"))
    lying[20:24] = blocks.pack("I", 4_000_000_000)
    file = opened(
        blocks.section() + blocks.interface(1, snap=2) + bytes(lying) + blocks.simple_packet(b"ab", longer=50)
    )
    assert [(raw, length) for _, raw, length, *_ in packets_of(file)] == [(b"data", 4), (b"ab", 52)]


def test_blocks_inside_packets_are_not_blocks() -> None:
    blocks = Blocks()
    inner = blocks.packet(AT, b"inner" * 3)
    packets = [inner * (n % 5) + bytes(n % 9) for n in range(300)]
    raw = (
        blocks.section() + blocks.interface() + b"".join(blocks.packet(AT + n, data) for n, data in enumerate(packets))
    )
    assert [data for _, data, *_ in packets_of(opened(raw))] == packets


def test_other_blocks_between_packets_do_not_disturb() -> None:
    blocks = Blocks()
    parts = [blocks.section(), blocks.interface()]
    for n in range(200):
        parts += [blocks.packet(AT + n, b"%d" % n), blocks.block(0xBAD, bytes(n % 40))]
    file = opened(b"".join(parts))
    batches = list(file.batches())
    assert [batch.packet(n) for batch in batches for n in range(len(batch))] == [b"%d" % n for n in range(200)]
    assert len(batches) == 1


SAMPLE = Blocks().section() + Blocks().interface(1, (2, b"eth0")) + b"".join(
    Blocks().packet(AT + n, bytes(n)) for n in range(6)
) + Blocks().old_packet(AT, b"old") + Blocks().simple_packet(b"simple")  # fmt: skip


def test_a_file_cut_anywhere_keeps_what_is_whole() -> None:
    ends, at = [0], 0
    while at < len(SAMPLE):
        at += int.from_bytes(SAMPLE[at + 4 : at + 8], "little")
        ends.append(at)
    for size in range(12, len(SAMPLE) + 1):
        file = opened(SAMPLE[:size])
        whole = max(end for end in ends if end <= size)
        assert len(packets_of(file)) == max(0, ends.index(whole) - 2)
        assert (file.ending.lost_bytes if file.ending else 0) == size - whole


@pytest.mark.parametrize(("place", "value", "reason"), [
    (4, 7, "impossible length"), (4, 0, "impossible length"), (4, 0xFFFF_FFF0, "impossible length"),
    (8, 5, "not described"), (-4, 40, "lengths of a block differ"),
])  # fmt: skip
def test_damage(place: int, value: int, reason: str) -> None:
    blocks = Blocks()
    start = blocks.section() + blocks.interface() + blocks.packet(AT, b"good")
    bad = bytearray(blocks.packet(AT, b"bad!"))
    place %= len(bad)
    bad[place : place + 4] = blocks.pack("I", value)
    rest = bytes(bad) + blocks.packet(AT, b"behind")
    file = opened(start + rest)
    assert [raw for _, raw, *_ in packets_of(file)] == [b"good"]
    assert file.ending is not None
    assert reason in file.ending.reason
    assert file.ending.lost_bytes == len(rest)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), max_size=6), st.binary(max_size=60))
def test_changed_bytes(changes: list[tuple[int, int]], more: bytes) -> None:
    raw = bytearray(SAMPLE)
    for place, value in changes:
        if place >= 12:
            raw[place] = value
    file = opened(bytes(raw) + more)
    held = sum(len(data) for _, data, *_ in packets_of(file))
    assert held <= len(raw) + len(more)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), st.sampled_from(["<", ">"]))
def test_bodies_of_any_bytes(body: bytes, order: str) -> None:
    parse_interface(body, order)
    parse_statistics(body, order)
    list(parse_names(body, order))


def test_larger_than_one_piece() -> None:
    blocks, chance = Blocks(), random.Random(1)
    packets = [chance.randbytes(20_000) for _ in range(900)]
    raw = blocks.section() + blocks.interface() + b"".join(blocks.packet(AT, data) for data in packets)
    assert [data for _, data, *_ in packets_of(opened(raw))] == packets
