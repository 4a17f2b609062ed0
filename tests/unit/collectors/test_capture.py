"""Captures of a made-up source: files, rotation, memory, limits."""

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import time_ns

import numpy as np
import pytest

from hostscope.collectors import capture
from hostscope.collectors.capture_files import Window, numbered
from hostscope.errors import UsageError
from hostscope.model.capture import (
    CaptureCounts,
    CaptureInterface,
    CaptureOutput,
    CaptureRequest,
    CaptureSummary,
)
from hostscope.model.interface import Interface, InterfaceAddress
from hostscope.model.socket import Endpoint, Socket, SocketOwner
from hostscope.platforms.base_network import PacketSource
from hostscope.platforms.tally import Tally
from hostscope.render.mask import mask_process
from hostscope.wire.batch import PacketBatch, empty_batch
from hostscope.wire.capture_file import open_capture
from hostscope.wire.pcapng_write import packets
from tests.fake import Answers, host, key, process
from tests.privacy import is_private, link
from tests.unit.wire import layers

S = 1_000_000_000


def frame(number: int, size: int = 0) -> bytes:
    body = layers.udp(1000, 2000, number.to_bytes(4, "big") + bytes(size))
    return layers.ethernet(0x0800, layers.ipv4(17, body, "10.0.0.1", "192.0.2.1"))


def batch(*frames: bytes, at_ns: int | list[int] | None = None) -> PacketBatch:
    sizes = np.array([len(one) for one in frames], np.uint32)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])[:-1]
    times = np.zeros(len(frames), np.int64) + (time_ns() if at_ns is None else at_ns)
    data = np.frombuffer(b"".join(frames), np.uint8)
    return PacketBatch(data, offsets, sizes, sizes, times, np.zeros(len(frames), np.uint16))


class Source:
    """Gives its batches, then nothing until it is stopped."""

    interfaces = (CaptureInterface(1, "eth0", 1, 1),)

    def __init__(self, batches: list[PacketBatch | threading.Event], ends: bool = True) -> None:
        self.given, self.ends = batches, ends
        self.passed = 0

    def batches(self, stop: threading.Event) -> Iterator[PacketBatch]:
        for one in self.given:
            if stop.is_set():
                return
            if isinstance(one, threading.Event):
                one.set()
                yield empty_batch()
            else:
                self.passed += len(one)
                yield one

    def counts(self) -> tuple[CaptureCounts, ...]:
        return (CaptureCounts("eth0", self.passed + 3, 3),)


class Capturing:
    """A host's capture that gives one source."""

    def __init__(self, source: Source) -> None:
        self.source, self.open_now = source, False

    @contextmanager
    def open(self, request: CaptureRequest, tally: Tally) -> Iterator[PacketSource]:
        tally.method, self.open_now = "fake", True
        yield self.source
        self.open_now = False


def sockets() -> Answers:
    owner = SocketOwner(key(5), "curl")
    local = Endpoint("10.0.0.1", 1000)
    one = Socket("inet", "dgram", "udp", None, local, None, 1, 1, owners=(owner,))
    own = Interface("eth0", 1, "ethernet", (), "up", addresses=(InterfaceAddress("inet", "10.0.0.1", 8),))
    return Answers(sockets=[one], interfaces=[[own]])


def record(
    output: CaptureOutput, *batches: PacketBatch | threading.Event, told: threading.Event | None = None
) -> CaptureSummary:
    curl = process(5, "curl", argv=("curl", "--password=hunter2"))
    box = replace(host(curl, answers=sockets()), capture=Capturing(Source(list(batches))))
    answer = capture.record(box, CaptureRequest(bpf="udp"), output, threading.Event(), told, mask_process)
    *_, last = answer
    assert answer.coverage.rows == last.packets
    assert answer.coverage.lost == 3
    return last


def numbers(path: str | Path) -> list[int]:
    """The packets of a file."""
    with open_capture(path) as file:
        raw = [one.packet(place) for one in file.batches() for place in range(len(one))]
        assert file.ending is None
    return [struct.unpack(">I", one[42:46])[0] for one in raw]


def test_a_file_has_the_packets_and_their_process_with_secrets_masked(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    summary = record(CaptureOutput(str(path)), batch(frame(1), frame(2)), batch(frame(3)))
    assert numbers(path) == [1, 2, 3]
    assert (summary.packets, summary.named_packets, summary.files) == (3, 3, (str(path),))
    assert summary.bytes == path.stat().st_size
    assert is_private(path)
    raw = path.read_bytes()
    assert raw.count(b"10.0.0.1:1000 = curl[5]: curl --password=***") == 3
    assert b"hunter2" not in raw
    assert struct.pack("<HHQ", 7, 8, 3) in raw, "the statistics say what was dropped"


def test_without_processes_packets_have_no_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    assert record(CaptureOutput(str(path), owners=False), batch(frame(1))).named_packets == 0
    assert b"curl" not in path.read_bytes()


def test_so_many_packets_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    batches = batch(frame(1), frame(2)), batch(frame(3), frame(4)), batch(frame(5))
    assert record(CaptureOutput(str(path), max_packets=3), *batches).packets == 3
    assert numbers(path) == [1, 2, 3]


def test_no_packets_are_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    record(CaptureOutput(str(path)), empty_batch())
    assert numbers(path) == []


def test_files_rotate_by_size_within_a_batch_and_the_newest_stay(tmp_path: Path) -> None:
    output = CaptureOutput(str(tmp_path / "a.pcapng"), rotate_bytes=4096, keep=2, owners=False)
    many = [frame(number, 900) for number in range(12)]
    summary = record(output, batch(*many))
    assert summary.packets == 12
    assert sorted(map(str, tmp_path.iterdir())) == sorted(summary.files)
    assert [numbers(path) for path in summary.files] == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert all(os.path.getsize(path) <= 4096 + 300 for path in summary.files)


def test_a_packet_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    output = CaptureOutput(str(tmp_path / "a.pcapng"), rotate_bytes=4096, owners=False)
    summary = record(output, batch(frame(1, 9000), frame(2, 9000)))
    assert [numbers(path) for path in summary.files] == [[1], [2]]


def test_files_rotate_by_the_packets_time(tmp_path: Path) -> None:
    output = CaptureOutput(str(tmp_path / "a.pcapng"), rotate_ns=60 * S, owners=False)
    now = time_ns()
    summary = record(output, batch(frame(1), frame(2), at_ns=[now, now + 61 * S]))
    assert [numbers(path) for path in summary.files[:2]] == [[1], [2]]


def test_the_last_seconds_are_written_when_told_and_in_the_end(tmp_path: Path) -> None:
    told, now = threading.Event(), time_ns()
    old, young, later = (batch(frame(n), at_ns=now + t) for n, t in ((1, -90 * S), (2, -5 * S), (3, -1 * S)))
    output = CaptureOutput(str(tmp_path / "a.pcapng"), last_ns=60 * S)
    summary = record(output, old, young, told, later, told=told)
    assert [numbers(path) for path in summary.files] == [[2], [3]]
    assert summary.packets == 2


def test_memory_is_bounded_and_what_it_lost_is_counted() -> None:
    window = Window(60 * S, 5000)
    for number in range(10):
        one = batch(frame(number, 900))
        window.add(packets(one), one.at_ns)
    assert window.bytes <= 5000
    assert window.forgotten == 10 - window.packets > 0
    kept = list(window.take(time_ns()))
    assert sum(len(at_ns) for _, at_ns in kept) == 10 - window.forgotten
    assert (window.packets, window.bytes) == (0, 0)


def test_what_is_too_old_goes_packet_by_packet() -> None:
    window, now = Window(10 * S, 1 << 20), time_ns()
    one = batch(frame(1), frame(2), at_ns=[now - 20 * S, now - 5 * S])
    window.add(packets(one), one.at_ns)
    window.expire(now)
    ((encoded, at_ns),) = window.take(now)
    assert at_ns.tolist() == [now - 5 * S]
    assert len(encoded.part(0, 1)) < len(encoded.data)


@pytest.mark.parametrize("last_ns", [None, S])
def test_a_place_that_cannot_be_written_is_said_before_packets_are_taken(tmp_path: Path, last_ns: int | None) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        record(CaptureOutput(str(tmp_path / "no" / "a.pcapng"), last_ns=last_ns), batch(frame(1)))


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    link(tmp_path / "link", tmp_path / "target")
    with pytest.raises(UsageError, match="symbolic link"):
        record(CaptureOutput(str(tmp_path / "link")), batch(frame(1)))
    assert (tmp_path / "target").read_bytes() == b""


@pytest.mark.posix("files of several names, and reading what was removed")
def test_who_has_the_file_open_that_was_there_reads_nothing_of_the_capture(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"kept")
    (tmp_path / "a.pcapng").hardlink_to(tmp_path / "other")
    (tmp_path / "other").chmod(0o666)
    record(CaptureOutput(str(tmp_path / "a.pcapng")), batch(frame(1)))
    assert (tmp_path / "other").read_bytes() == b"kept"
    assert numbers(tmp_path / "a.pcapng") == [1] and is_private(tmp_path / "a.pcapng")


def test_a_full_disk_leaves_whole_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "a.pcapng", os.write
    left = [2]

    def full(fd: int, blocks: memoryview) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return write(fd, blocks if left[0] else blocks[: len(blocks) // 2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        record(CaptureOutput(str(path)), batch(frame(1)), batch(frame(2)))
    monkeypatch.undo()
    assert numbers(path) == []


def test_an_unreadable_place_is_written_with_the_right_to(tmp_path: Path) -> None:
    raised: list[bool] = []

    @contextmanager
    def override() -> Iterator[None]:
        raised.append(True)
        yield

    box = replace(host(answers=sockets()), capture=Capturing(Source([batch(frame(1))])))
    output = CaptureOutput(str(tmp_path / "a.pcapng"))
    list(capture.record(box, CaptureRequest(), output, threading.Event(), override=override))
    assert raised == [], "nothing stood in the way"


def test_names_of_files() -> None:
    assert numbered("/x/a.pcapng", 3, 0) == "/x/a-00003-19700101T000000Z.pcapng"
    assert numbered("a", 12, 0) == "a-00012-19700101T000000Z"
