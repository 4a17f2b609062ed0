"""pcap files: forms, damaged ends, and the guessing of where records are."""

import gzip
import io
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.errors import Denied, Unsupported, UsageError
from hostscope.wire import records
from hostscope.wire.capture_file import open_capture
from hostscope.wire.feed import MAX_RECORD, Feed
from hostscope.wire.pcap import FILE_HEADER, PcapFile
from tests.unit.wire.captures import Packet, opened, packets_of, pcap

AT = 1_760_000_000_123_456_789
THREE: list[Packet] = [(AT, b"first"), (AT + 1_000_000_000, b""), (AT + 2_000_000_000, b"third packet")]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("unit_ns", [1, 1000])
@pytest.mark.parametrize("link", [0, 1, 101, 113, 276])
def test_forms(order: str, unit_ns: int, link: int) -> None:
    file = opened(pcap(THREE, order, unit_ns, link, longer=10))
    assert packets_of(file) == [(at // unit_ns * unit_ns, raw, len(raw) + 10, 0, link) for at, raw in THREE]
    assert file.ending is None
    assert [(one.link, one.snap_bytes) for one in file.interfaces] == [(link, 65535)]


def test_the_upper_bits_of_the_link_say_something_else() -> None:
    raw = bytearray(pcap(THREE))
    raw[20:24] = struct.pack("<I", 0xF400_0001)
    assert opened(bytes(raw)).interfaces[0].link == 1


def test_a_file_cut_anywhere_keeps_what_is_whole() -> None:
    raw = pcap(THREE)
    ends = [FILE_HEADER, FILE_HEADER + 21, FILE_HEADER + 37, len(raw)]
    for size in range(FILE_HEADER, len(raw) + 1):
        file = opened(raw[:size])
        whole = sum(end <= size for end in ends) - 1
        assert len(packets_of(file)) == whole
        assert (file.ending.lost_bytes if file.ending else 0) == size - ends[whole]


def test_an_impossible_length_ends_it() -> None:
    rest = struct.pack("<4I", 1, 2, MAX_RECORD + 1, 60) + bytes(5000)
    file = opened(pcap(THREE) + rest)
    assert len(packets_of(file)) == 3
    assert file.ending is not None
    assert (file.ending.lost_bytes, file.ending.reason) == (len(rest), "a packet claims an impossible length")


def test_compressed(tmp_path: Path) -> None:
    path = tmp_path / "some.pcap.gz"
    path.write_bytes(gzip.compress(pcap(THREE)))
    with open_capture(path) as file:
        assert [raw for _, raw, *_ in packets_of(file)] == [raw for _, raw in THREE]
        assert file.ending is None


def test_compressed_and_cut() -> None:
    packets = [(AT, random.Random(n).randbytes(100)) for n in range(50)]
    whole = gzip.compress(pcap(packets))
    file = opened(whole[: len(whole) // 2])
    assert 5 < len(packets_of(file)) < 50
    assert file.ending is not None
    assert "end-of-stream" in file.ending.reason


def test_compressed_and_damaged() -> None:
    whole = bytearray(gzip.compress(pcap([(AT, random.Random(n).randbytes(2000)) for n in range(50)])))
    whole[len(whole) // 2] ^= 0xFF
    file = opened(bytes(whole))
    packets_of(file)
    assert file.ending is not None


@pytest.mark.parametrize(
    "raw", [b"", b"\xd4\xc3", b"GIF89a", b"\xd4\xc3\xb2\xa1\x02\0", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08"]
)
def test_no_capture_file(raw: bytes) -> None:
    with pytest.raises(UsageError):
        opened(raw)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such file|not found"), open_capture(tmp_path / "none"):
        pass
    with pytest.raises(UsageError, match=r"(?i)is a directory"), open_capture(tmp_path):
        pass
    with pytest.raises(Unsupported, match="zstd"):
        opened(b"\x28\xb5\x2f\xfd" + bytes(20))


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(Denied), open_capture("some.pcap"):
        pass


def test_a_file_of_somebody_else_is_opened_with_the_right_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, may, asked = tmp_path / "some.pcap", [False], []
    path.write_bytes(pcap(THREE))
    really = open

    @contextmanager
    def raised() -> Iterator[None]:
        asked.append("raised")
        may[0] = True
        yield
        may[0] = False

    def guarded(name: str, mode: str) -> object:
        if not may[0]:
            raise PermissionError(13, "Permission denied")
        return really(name, mode)

    monkeypatch.setattr("hostscope.wire.capture_file.open", guarded, raising=False)
    with open_capture(path, raised) as file:
        assert len(packets_of(file)) == 3 and asked == ["raised"] and not may[0]


def test_small_pieces_give_the_same_packets() -> None:
    packets = [(AT + n * 1_000_000, random.Random(n).randbytes(n % 300)) for n in range(400)]
    raw = pcap(packets)
    for piece in (64, 1000, 1 << 20):
        feed = Feed(io.BytesIO(raw), piece)
        feed.more(0)
        if len(feed.data) >= FILE_HEADER:
            found = packets_of(PcapFile(feed))
            assert [(at, data) for at, data, *_ in found] == [(at // 1000 * 1000, data) for at, data in packets]


def test_batches_that_are_kept_stay_true() -> None:
    """Pieces share memory only with pieces that nobody holds any more."""
    packets = [(AT, random.Random(n).randbytes(500)) for n in range(400)]
    feed = Feed(io.BytesIO(pcap(packets)), 4096)
    feed.more(0)
    kept = []
    for number, batch in enumerate(PcapFile(feed).batches()):
        if number % 3:  # the others' memory is used again
            kept.append((batch, [batch.packet(place) for place in range(len(batch))]))
    assert len(kept) > 20
    for batch, seen in kept:
        assert [batch.packet(place) for place in range(len(batch))] == seen
    assert len({batch.data.ctypes.data for batch, _ in kept}) == len(kept)


def test_memory_that_nobody_holds_is_used_again() -> None:
    feed = Feed(io.BytesIO(bytes(1 << 20)), 4096)
    places = set()
    while feed.more(0):
        places.add(feed.data.ctypes.data)
    assert len(places) <= 3


def truth(raw: bytes, start: int) -> list[int]:
    places, at = [], start
    while at + 16 <= len(raw):
        (size,) = struct.unpack_from("<I", raw, at + 8)
        if size > MAX_RECORD or at + 16 + size > len(raw):
            break
        places.append(at)
        at += 16 + size
    return places


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many lanes in little data."""
    monkeypatch.setattr(records, "LANE", 512)
    monkeypatch.setattr(records, "NEAR", 128)
    monkeypatch.setattr(records, "MIN_LANES", 2)


@pytest.mark.usefixtures("narrow")
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 600), st.booleans())
def test_guessed_records_are_the_true_ones(seed: int, count: int, traps: bool) -> None:
    """Also when packets hold what looks like records, and when the file is damaged somewhere."""
    chance = random.Random(seed)
    trap = struct.pack("<4I", 1_760_000_000, 5, 0, 0)  # followed by others, as a true one would be
    packets = []
    for n in range(count):
        data = chance.randbytes(chance.choice([0, 20, 60, 60, 60, 300, 1500]))
        packets.append((AT + n * 10_000_000, trap * chance.randint(1, 60) + data if traps and n % 7 == 0 else data))
    raw = bytearray(pcap(packets))
    if count and chance.random() < 0.3:
        raw[chance.randrange(FILE_HEADER, len(raw))] ^= 0xFF
    found, end = records.find_records(np.frombuffer(bytes(raw), np.uint8), FILE_HEADER, "<")
    assert found.places.tolist() == truth(bytes(raw), FILE_HEADER)
    assert end >= FILE_HEADER


@pytest.mark.usefixtures("narrow")
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["<", ">"]))
def test_any_bytes(data: bytes, order: str) -> None:
    packets_of(opened(pcap([], order) + data * 8))


@pytest.mark.parametrize("order", ["<", ">"])
def test_guesses_are_used(order: str) -> None:
    """Otherwise reading would be right, but slow."""
    packets = [(AT + n * 1000, random.Random(n).randbytes(200)) for n in range(5000)]
    data = np.frombuffer(pcap(packets, order), np.uint8)
    guesses = records._verified(data, records._speculate(data, FILE_HEADER, order), order)
    assert len(guesses.places) == 5000


def test_the_end_of_guessing_is_bounded() -> None:
    """Records without content, far more than are followed at once."""
    raw = pcap([(AT, b"")] * 100_000)
    found, end = records.find_records(np.frombuffer(raw, np.uint8), FILE_HEADER, "<")
    assert (len(found.places), end) == (100_000, len(raw))


def test_guesses_are_used_when_time_stamps_are_common_numbers() -> None:
    """The zeros of a time stamp stand in headers, too."""
    packets = [(n * 1000, bytes(6) + random.Random(n).randbytes(194)) for n in range(5000)]
    data = np.frombuffer(pcap(packets), np.uint8)
    found = records._verified(data, records._speculate(data, FILE_HEADER, "<"), "<")
    assert len(found.places) == 5000
