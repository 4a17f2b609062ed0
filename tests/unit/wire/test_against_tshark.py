"""Flows against tshark's conversation statistics on the same file."""

import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from hostscope.wire.capture_file import open_capture
from hostscope.wire.decode import decode
from hostscope.wire.flow_records import records
from hostscope.wire.flows import FlowTable
from tests.unit.wire import layers as f
from tests.unit.wire.captures import Blocks, pcap

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed (Debian: tshark)")

AT = 1_760_000_000_000_000_000
LINE = re.compile(
    r"^(\S+):(\d+) +<-> +(\S+):(\d+) +(\d+) ([\d,]+) bytes +(\d+) ([\d,]+) bytes +\d+ [\d,]+ bytes +(\S+) +(\S+)"
)
Side = tuple[str, int]
Conversation = dict[tuple[Side, Side], tuple[int, int]]
"""From, to -> packets, bytes."""


def frame(chance: random.Random, flow: int) -> bytes:
    """A packet of a flow, in one direction or the other, carried in one way or another by the flow's number."""
    here, there = (f"10.1.{flow >> 8}.{flow & 255}", f"10.2.0.{flow % 3}")
    six = flow % 4 == 3
    if six:
        here, there = (f"fd00::{flow:x}", f"fd00:1::{flow % 3:x}")
    ports = (10_000 + flow, (80, 443, 9999)[flow % 3])
    if chance.random() < 0.5:
        here, there, ports = there, here, (ports[1], ports[0])
    data = chance.randbytes(chance.randrange(0, 200))
    body = f.udp(*ports, data) if flow % 2 else f.tcp(*ports, data, 0x10, bytes(chance.choice([0, 12])))
    protocol = 17 if flow % 2 else 6
    packet = f.ipv6(protocol, body, here, there) if six else f.ipv4(protocol, body, here, there)
    kind = 0x86DD if six else 0x0800
    if flow % 16 == 4:
        return f.ethernet(kind, packet, ((0x8100, flow & 0xFFF),))
    if flow % 16 == 6:
        return f.ethernet(0x0800, f.ipv4(47, f.gre(kind, packet, key=flow)))
    if flow % 16 == 8:
        return f.ethernet(0x0800, f.ipv4(4, packet, options=bytes(4)))
    if flow % 16 == 7:
        return f.ethernet(kind, f.ipv6(60, f.extension(protocol) + body, here, there))
    return f.ethernet(kind, packet)


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    chance = random.Random(3)
    return [frame(chance, chance.randrange(600)) for _ in range(8000)]


def conversations(path: Path, protocol: str) -> tuple[Conversation, dict[frozenset[Side], tuple[float, float]]]:
    """What tshark counted in each direction, and when each conversation began and how long it took."""
    command = ["tshark", "-n", "-q", "-z", f"conv,{protocol}", "-r", str(path)]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    found: Conversation = {}
    times = {}
    for match in filter(None, map(LINE.match, text.splitlines())):
        one, two = (match[1], int(match[2])), (match[3], int(match[4]))
        found[two, one] = (int(match[5]), int(match[6].replace(",", "")))
        found[one, two] = (int(match[7]), int(match[8].replace(",", "")))
        times[frozenset((one, two))] = (float(match[9]), float(match[10]))
    return found, times


def flows(path: Path) -> FlowTable:
    table = FlowTable()
    with open_capture(path) as file:
        for batch in file.batches():
            table.update(batch, decode(batch))
    return table


def compare(path: Path) -> None:
    table = flows(path)
    assert len(table) > 550
    for name, number in (("tcp", 6), ("udp", 17)):
        theirs, times = conversations(path, name)
        ours: Conversation = {}
        for flow in records(table):
            if flow.protocol == number:
                one, two = ((end.address, end.port or 0) for end in (flow.initiator, flow.responder))
                ours[one, two] = (flow.sent.packets, flow.sent.wire_bytes)
                ours[two, one] = (flow.received.packets, flow.received.wire_bytes)
                start, length = times[frozenset((one, two))]
                assert (flow.first_at_ns - AT) / 1e9 == pytest.approx(start, abs=2e-6)
                assert (flow.last_at_ns - flow.first_at_ns) / 1e9 == pytest.approx(length, abs=2e-4)
        assert ours == theirs


def test_pcap(frames: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(pcap((AT + n * 250_000, raw) for n, raw in enumerate(frames)))
    compare(path)


def test_pcapng(frames: list[bytes], tmp_path: Path) -> None:
    path, blocks = tmp_path / "some.pcapng", Blocks(">")
    head = blocks.section() + blocks.interface(1, (9, b"\x09"))
    path.write_bytes(head + b"".join(blocks.packet(AT + n * 250_000, raw) for n, raw in enumerate(frames)))
    compare(path)


def test_every_kind_of_packet_was_there(frames: list[bytes]) -> None:
    batch = f.batch(frames)
    out = decode(batch)
    assert Counter(out.problem.tolist()) == {0: len(frames)}
    assert set(out.tunnel.tolist()) == {0, 1, 3}
    assert (out.vlan_outer >= 0).any()
