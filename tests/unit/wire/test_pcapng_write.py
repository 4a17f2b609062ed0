"""Blocks that are written, read back by the reader and block by block."""

import io
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.wire import pcapng_write as write
from hostscope.wire.batch import PacketBatch, empty_batch
from hostscope.wire.capture_file import read_capture

AT = 1_760_000_000_123_456_789
HEAD = write.section("x86_64", "Linux 6", "test") + write.interface("lo", 1, 65535)


def batch(packets: list[bytes], flags: bool = True, lost: int = 0, slack: int = 3) -> PacketBatch:
    """Packets with something between them, as in a ring."""
    sizes = np.array([len(one) for one in packets], np.uint32)
    pieces, offsets, at = [], [], 0
    for one in packets:
        offsets.append(at + slack)
        pieces.append(b"\xee" * slack + one)
        at += slack + len(one)
    data = np.frombuffer(b"".join(pieces), np.uint8)
    at_ns = np.arange(len(packets), dtype=np.int64) + AT
    marks = np.full(len(packets), 5, np.uint8) if flags else None
    interface = np.zeros(len(packets), np.uint16)
    return PacketBatch(data, np.array(offsets, np.int64), sizes, sizes + 1, at_ns, interface, flags=marks, lost=lost)


def blocks(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Types and bodies; both lengths of each block are what they should be."""
    at = 0
    while at < len(raw):
        kind, size = struct.unpack_from("<II", raw, at)
        assert size % 4 == 0
        assert struct.unpack_from("<I", raw, at + size - 4)[0] == size
        yield kind, raw[at + 8 : at + size - 4]
        at += size
    assert at == len(raw)


def options(raw: bytes) -> list[tuple[int, bytes]]:
    """Up to the end of options, which must come last and be there if any option is."""
    found, at = [], 0
    while at < len(raw):
        code, size = struct.unpack_from("<HH", raw, at)
        if code == 0:
            assert at + 4 == len(raw)
            return found
        found.append((code, raw[at + 4 : at + 4 + size]))
        at += 4 + (size + 3 & ~3)
    assert not found
    return found


def reading(raw: bytes) -> list[bytes]:
    """The packets that a reader finds."""
    found = read_capture(io.BytesIO(raw), "-")
    return [one.packet(place) for one in found.batches() for place in range(len(one))]


def options_of_packet(body: bytes) -> list[tuple[int, bytes]]:
    captured = struct.unpack_from("<I", body, 12)[0]
    return options(body[20 + (captured + 3 & ~3) :])


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=40),
    st.booleans(),
    st.integers(0, 9),
    st.lists(st.text(max_size=50), min_size=1, max_size=4),
)
def test_what_was_written_is_read_again(packets: list[bytes], flags: bool, lost: int, texts: list[str]) -> None:
    given_ = batch(packets, flags, lost)
    index = np.arange(len(packets), dtype=np.int64) % (len(texts) + 1)
    notes = write.Notes([b"", *map(write.comment, texts)], index)
    encoded = write.packets(given_, notes)
    found = list(blocks(encoded.data.tobytes()))
    assert [kind for kind, _ in found] == [write.PACKET] * len(packets)
    for place, (_, body) in enumerate(found):
        interface, high, low, captured, length = struct.unpack_from("<5I", body)
        assert (interface, high << 32 | low) == (0, AT + place)
        assert (captured, length) == (len(packets[place]), len(packets[place]) + 1)
        assert body[20 : 20 + captured] == packets[place]
        expected = [(2, struct.pack("<I", 5))] if flags else []
        expected += [(4, struct.pack("<Q", lost))] if lost and place == 0 else []
        expected += [(1, texts[index[place] - 1].encode())] if index[place] else []
        assert options_of_packet(body) == expected


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=20))
def test_the_reader_gives_the_same_packets(packets: list[bytes]) -> None:
    assert reading(HEAD + write.packets(batch(packets)).data.tobytes()) == packets


def test_large_packets_and_the_last_bytes_of_a_buffer_are_copied_whole() -> None:
    packets = [b"a" * 70_000, b"b" * 9, b"c" * 8193, b"d" * 31]
    found = blocks(bytes(write.packets(batch(packets)).data))
    assert [body[20 : 20 + len(one)] for (_, body), one in zip(found, packets, strict=True)] == packets


def test_a_packet_that_is_said_to_lie_outside_has_what_is_there() -> None:
    sizes = np.array([100, 10, 10], np.uint32)
    lying = PacketBatch(
        np.frombuffer(b"0123456789", np.uint8), np.array([5, -1, 99], np.int64), sizes, sizes,
        np.zeros(3, np.int64), np.zeros(3, np.uint16),
    )  # fmt: skip
    bodies = [body for _, body in blocks(bytes(write.packets(lying).data))]
    assert [struct.unpack_from("<I", body, 12)[0] for body in bodies] == [5, 0, 0]
    assert bodies[0][20:25] == b"56789"


def test_no_packets_are_no_bytes() -> None:
    encoded = write.packets(empty_batch())
    assert len(encoded.data) == 0
    assert encoded.starts.tolist() == [0]


def test_part_is_whole_blocks() -> None:
    encoded = write.packets(batch([b"one", b"two", b"three"]))
    bodies = [body[20:23] for _, body in blocks(bytes(encoded.part(1, 3)))]
    assert bodies == [b"two", b"thr"]


def test_an_interface_names_itself_its_filter_and_nanoseconds() -> None:
    ((kind, body),) = blocks(write.interface("eth0", 1, 96, "tcp port 80", b"\1\2\3\4\5\6"))
    assert (kind, struct.unpack_from("<HHI", body)) == (write.INTERFACE, (1, 0, 96))
    assert options(body[8:]) == [(2, b"eth0"), (9, b"\x09"), (11, b"\0tcp port 80"), (6, b"\1\2\3\4\5\6")]


def test_statistics_say_what_passed_was_dropped_and_written() -> None:
    ((kind, body),) = blocks(write.statistics(2, AT, AT + 1, passed=10, dropped=3, written=7))
    assert (kind, struct.unpack_from("<I", body)[0]) == (write.STATISTICS, 2)
    numbers = {code: struct.unpack("<Q", value)[0] for code, value in options(body[12:]) if code >= 4}
    assert numbers == {4: 10, 5: 3, 6: 10, 7: 3, 8: 7}


def test_what_nobody_counted_is_left_out() -> None:
    ((_, body),) = blocks(write.statistics(2, AT, AT + 1, passed=10, dropped=None, written=7))
    numbers = {code: struct.unpack("<Q", value)[0] for code, value in options(body[12:]) if code >= 4}
    assert numbers == {4: 10, 6: 10, 8: 7}


def test_names_of_addresses_and_lines_beside_them() -> None:
    raw = write.names({"192.0.2.1": ["a.example", "b.example"], "2001:db8::1": ["c.example"]}, ["curl[1]"])
    ((kind, body),) = blocks(raw)
    assert kind == write.NAMES
    assert b"a.example\0b.example\0" in body
    assert options(body[-16:]) == [(1, b"curl[1]")]


@given(st.text(max_size=3000).map(lambda text: text * 3))
def test_long_texts_are_cut_at_a_character(text: str) -> None:
    raw = write.comment(text)
    size = struct.unpack_from("<HH", raw)[1]
    assert size <= write.MOST_TEXT_BYTES
    assert text.startswith(raw[4 : 4 + size].decode())


def test_surrogates_do_not_break_a_block() -> None:
    assert b"?" in write.comment("\ud800")


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_file_cut_anywhere_gives_the_packets_before(cut: int) -> None:
    raw = HEAD + write.packets(batch([b"x" * 40, b"y" * 40])).data.tobytes()
    assert reading(raw[:-cut]) == [b"x" * 40]
