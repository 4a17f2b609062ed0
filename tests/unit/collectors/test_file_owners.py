"""Processes of a capture file: comments as `capture` writes them, read back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.collectors import traffic
from hostscope.collectors.file_meter import FROM_COMMENTS, read_file
from hostscope.collectors.file_owners import NEITHER, FileOwners, Said, parse_owners
from hostscope.collectors.flow_targets import Chosen
from hostscope.platforms.tally import Tally
from tests.unit.wire.captures import Blocks, opened, pcap
from tests.unit.wire.layers import ethernet, ipv4, tcp

AT = 1_760_000_000_000_000
HERE, THERE = "10.0.0.1:40000", "10.0.0.2:443"
FORTH = ethernet(0x0800, ipv4(6, tcp(40000, 443, b"x" * 100, flags=0x02)))
BACK = ethernet(0x0800, ipv4(6, tcp(443, 40000, b"y" * 10, flags=0x12), "10.0.0.2", "10.0.0.1"))
CURL, NGINX = f"{HERE} = curl[12]: curl https://a.test", f"{THERE} = nginx[7] in web: nginx = -g"


def comments(*texts: str) -> list[tuple[int, bytes]]:
    """Options as the writer gives them: flags come first."""
    return [(2, bytes(4)), *((1, text.encode()) for text in texts)]


def flows(folder: Path, *notes: list[tuple[int, bytes]], order: str = "<") -> tuple[tuple[traffic.Flow, ...], Tally]:
    """What a file is read as whose packets, there and back, have these options, a second apart."""
    blocks, tally, path = Blocks(order), Tally(), folder / "file.pcapng"
    packets = [
        blocks.packet(AT + number * 1_000_000, BACK if number % 2 else FORTH, 0, *note)
        for number, note in enumerate(notes)
    ]
    names = blocks.block(4, blocks.options((1, b"\x0a\0\0\2a.test\0")))
    path.write_bytes(blocks.section() + blocks.interface(1, (2, b"eth0")) + b"".join(packets) + names)
    return read_file(str(path), tally, 100, True).flows, tally


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_process_of_the_end_that_began(tmp_path: Path, order: str) -> None:
    (flow,), tally = flows(tmp_path, comments(CURL), [], order=order)
    assert (flow.name, flow.key, flow.unknown, flow.direction) == ("curl[12]", None, None, "outbound")
    assert (str(flow.local), str(flow.remote)) == (HERE, THERE)
    assert flow.wire and (flow.wire.sent_bytes, flow.wire.received_bytes) == (len(FORTH), len(BACK))
    assert (flow.domain, flow.domain_source) == ("a.test", "file")
    assert tally.coverage().notes == (FROM_COMMENTS,)


def test_only_the_other_end_is_known(tmp_path: Path) -> None:
    (flow,), _ = flows(tmp_path, comments(NGINX), [])
    assert (flow.name, flow.direction, str(flow.local)) == ("nginx[7] in web", "inbound", THERE)
    assert flow.wire and (flow.wire.sent_bytes, flow.wire.received_bytes) == (len(BACK), len(FORTH))


def test_both_ends_have_a_row_and_rates_are_of_the_files_time(tmp_path: Path) -> None:
    found, _ = flows(tmp_path, comments(CURL, NGINX), [])
    rows = [traffic.process_row(owner, of) for owner, of in traffic.group(found).items()]
    assert [(row.name, row.unknown, row.connections) for row in rows] == [
        ("curl[12]", None, 1),
        ("nginx[7] in web", None, 1),
    ]
    assert traffic._span_s(found) == 1.0
    chosen = Chosen(frozenset(), frozenset({"nginx"}), frozenset())
    assert [chosen.has(flow) for flow in found] == [False, True]


def test_why_there_is_none_until_a_later_batch_tells(tmp_path: Path) -> None:
    (flow,), tally = flows(tmp_path, comments("process unknown: gone"), [])
    assert (flow.name, flow.unknown) == (None, "gone")
    assert tally.coverage().notes == ()
    blocks, owners, ids = Blocks(), FileOwners(10), np.array([5])
    for text in ("process unknown: gone", CURL, NGINX):
        file = opened(blocks.section() + blocks.interface(1) + blocks.packet(AT, FORTH, 0, *comments(text)))
        (batch,) = file.batches()
        owners.learn(file, batch, ids)
    assert owners.of(5) == {HERE: Said("curl[12]")}


def test_what_was_not_understood_is_a_failure(tmp_path: Path) -> None:
    flows(tmp_path, [], [])
    path = tmp_path / "file.pcapng"
    path.write_bytes(path.read_bytes()[:-5])
    tally = Tally()
    assert len(read_file(str(path), tally, 100, True).flows) == 1
    coverage = tally.coverage()
    assert coverage.failed == 1 and "bytes at the end: the last block is incomplete" in coverage.notes[0]


def test_files_without_comments_are_unrecorded(tmp_path: Path) -> None:
    (flow,), _ = flows(tmp_path, [], [(2, bytes(4))])
    assert (flow.name, flow.unknown) == (None, "unrecorded")
    file = opened(pcap([(AT, FORTH)]))
    (batch,) = file.batches()
    assert not len(file.noted(batch)) and file.comments(batch, 0) == ()


@pytest.mark.parametrize(
    ("comment", "end", "said"),
    [
        (f"{HERE} = one of 3 sockets: a b[1]: a: [2]", HERE, Said("a b[1]")),
        ("[::1]:80 = x[1] in web", "[::1]:80", Said("x[1] in web")),
        ("10.0.0.1 = the kernel", "10.0.0.1", Said(None, "kernel")),
        (f"{HERE} = process unknown: gone", HERE, Said(None, "gone")),
        ("process unknown: lost", NEITHER, Said(None, "lost")),
    ],
)
def test_what_comments_say(comment: str, end: str, said: Said) -> None:
    assert parse_owners((comment, comment.replace("gone", "other"))) == {end: said}


@pytest.mark.parametrize("comment", ["a comment", "a = b", f"{HERE} = 2 more processes", "", " = "])
def test_other_comments_say_nothing(comment: str) -> None:
    assert parse_owners((comment,)) == {}


@given(st.lists(st.text(), max_size=4).map(tuple))
def test_any_comments_will_do(texts: tuple[str, ...]) -> None:
    assert all(said.name or said.unknown is not None for said in parse_owners(texts).values())


@given(st.binary(max_size=64))
def test_any_options_will_do(options: bytes) -> None:
    blocks = Blocks()
    head = blocks.pack("5I", 0, AT >> 32, AT & 0xFFFFFFFF, 3, 3) + b"abc\0"
    file = opened(blocks.section() + blocks.interface(1) + blocks.block(6, head + options))
    (batch,) = file.batches()
    assert len(file.noted(batch)) == bool(options)
    assert all(isinstance(text, str) for text in file.comments(batch, 0))
