"""Flows against a dictionary that counts one packet at a time."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.model.socket import Endpoint
from hostscope.wire.batch import U64, PacketBatch
from hostscope.wire.decode import decode
from hostscope.wire.decoded import Problem
from hostscope.wire.flow_keys import Scope
from hostscope.wire.flow_records import WireFlow, records
from hostscope.wire.flows import FlowTable, Totals
from hostscope.wire.keys import KeyIndex
from tests.unit.wire import layers as f


def fed(packets: list[bytes], **options: object) -> FlowTable:
    table = FlowTable(**options)  # type: ignore[arg-type]
    batch = f.batch(packets)
    table.update(batch, decode(batch))
    return table


def segment(source: str, port: int, target: str, other: int, data: bytes = b"", flags: int = 0x10) -> bytes:
    return f.ethernet(0x0800, f.ipv4(6, f.tcp(port, other, data, flags), source, target))


def only(table: FlowTable) -> WireFlow:
    (flow,) = records(table)
    return flow


def everything(table: FlowTable) -> Totals:
    return sum(table.apart.values(), table.totals() + table.evicted)


def test_a_connection() -> None:
    here, there = ("10.0.0.9", 50000), ("10.0.0.1", 443)
    flow = only(fed([
        segment(*here, *there, flags=0x02), segment(*there, *here, flags=0x12), segment(*here, *there),
        segment(*here, *there, b"request", 0x18), segment(*there, *here, b"answer..", 0x18),
        segment(*there, *here, flags=0x11), segment(*here, *there, flags=0x11),
    ]))  # fmt: skip
    assert (flow.initiator, flow.responder, flow.initiator_by) == (Endpoint(*here), Endpoint(*there), "syn")
    assert (flow.sent.packets, flow.sent.payload_bytes, flow.sent.wire_bytes) == (4, 7, 4 * 54 + 7)
    assert (flow.received.packets, flow.received.payload_bytes) == (3, 8)
    assert (flow.sent.tcp_flags, flow.state) == (0x1B, "fin")
    assert (flow.first_at_ns, flow.last_at_ns) == (0, 6)


@pytest.mark.parametrize(("packets", "initiator", "reason"), [
    ([(1, 0x12)], 2, "syn"),  # the answer tells
    ([(1, 0x10), (2, 0x10)], 1, "first_seen"),
    ([(2, 0x10), (1, 0x10)], 2, "first_seen"),
    ([(1, 0x10), (2, 0x02)], 2, "syn"),
    ([(1, 0x02), (2, 0x02)], 1, "first_seen"),  # opened from both ends
])  # fmt: skip
def test_who_began(packets: list[tuple[int, int]], initiator: int, reason: str) -> None:
    flow = only(fed([segment("10.0.0.1", end, "10.0.0.1", 3 - end, flags=flags) for end, flags in packets]))
    assert (flow.initiator.port, flow.initiator_by) == (initiator, reason)


@pytest.mark.parametrize(("flags", "state"), [
    ([(1, 0x02)], "syn"), ([(1, 0x02), (2, 0x12)], "open"), ([(1, 0x11)], "closing"), ([(1, 0x10), (2, 0x14)], "rst"),
])  # fmt: skip
def test_states(flags: list[tuple[int, int]], state: str) -> None:
    assert (
        only(
            fed(
                [
                    segment("10.0.0.1", end, "10.0.0.2", 3 - end, flags=flag)
                    if end == 1
                    else segment("10.0.0.2", end, "10.0.0.1", 3 - end, flags=flag)
                    for end, flag in flags
                ]
            )
        ).state
        == state
    )


def test_an_echo_and_its_reply_are_one_flow() -> None:
    flow = only(fed([
        f.ethernet(0x0800, f.ipv4(1, f.icmp(8, 0, 77, b"abc"), "10.0.0.1", "10.0.0.2")),
        f.ethernet(0x0800, f.ipv4(1, f.icmp(0, 0, 77, b"abc"), "10.0.0.2", "10.0.0.1")),
    ]))  # fmt: skip
    assert (flow.icmp_id, flow.sent.packets, flow.received.packets) == (77, 1, 1)
    assert flow.initiator == Endpoint("10.0.0.1")


def test_vlans_and_tunnels_keep_flows_apart_or_not() -> None:
    inner = f.ipv4(17, f.udp(1, 2, b"x"))
    packets = [
        f.ethernet(0x0800, inner),
        f.ethernet(0x0800, inner, ((0x8100, 4095),)),
        f.ethernet(0x0800, inner, ((0x8100, 5), (0x8100, 6))),
        f.ethernet(0x0800, f.ipv4(4, inner)),
        f.ethernet(0x0800, f.ipv4(47, f.gre(0x0800, inner, key=1), "172.16.0.1", "172.16.0.2")),
        f.ethernet(0x0800, f.ipv4(47, f.gre(0x0800, inner, key=2))),
    ]
    flows = list(records(fed(packets)))
    assert [flow.vlans for flow in flows] == [(), (4095,), (5, 6), (), (), ()]
    assert [(flow.tunnel, flow.tunnel_id) for flow in flows[3:]] == [("ip", None), ("gre", 1), ("gre", 2)]
    assert flows[4].outer == ("172.16.0.1", "172.16.0.2")
    assert {(flow.initiator, flow.responder) for flow in flows} == {(Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2))}
    assert len(fed(packets, scope=Scope(vlan=False, tunnel=False))) == 1


def test_interfaces_when_asked() -> None:
    batch = f.batch([segment("10.0.0.1", 1, "10.0.0.2", 2)] * 2)
    batch.interface[:] = [0, 65535]
    table = FlowTable(scope=Scope(interface=True))
    table.update(batch, decode(batch))
    assert [flow.interface for flow in records(table)] == [0, 65535]


def test_what_is_no_flow_is_counted_by_reason() -> None:
    table = fed([f.ethernet(0x0806, bytes(28)), f.ethernet(0x0800, b"\x45"), segment("10.0.0.1", 1, "10.0.0.2", 2)])
    assert table.apart == {Problem.NOT_IP: Totals(1, 42), Problem.MALFORMED: Totals(1, 15)}
    assert everything(table).packets == 3


def test_the_first_packets_with_payload_are_pointed_out() -> None:
    here, there = ("10.0.0.9", 50000), ("10.0.0.1", 443)
    packets = [segment(*here, *there)] + [segment(*here, *there, b"out")] * 5 + [segment(*there, *here, b"in")] * 2
    table, batch = FlowTable(looks=3), f.batch(packets)
    update = table.update(batch, decode(batch))
    assert update.look.tolist() == [1, 2, 3, 6, 7]
    assert set(update.ids.tolist()) == {1}
    again = table.update(batch, decode(batch))
    assert again.look.tolist() == [6]
    table.name(int(again.look_rows[0]), 1, "example.org", "tls")
    table.name(int(again.look_rows[0]), 2, "of another flow that had the row", "tls")
    assert (only(table).domain, only(table).domain_source) == ("example.org", "tls")


ENDS = st.tuples(st.integers(0, 3), st.integers(1, 3))
PACKETS = st.lists(
    st.tuples(st.sampled_from([4, 6]), st.sampled_from([6, 17]), ENDS, ENDS, st.integers(0, 30)), max_size=60
)


def made(packet: tuple[int, int, tuple[int, int], tuple[int, int], int]) -> bytes:
    family, protocol, (source, port), (target, other), size = packet
    body = f.tcp(port, other, bytes(size)) if protocol == 6 else f.udp(port, other, bytes(size))
    if family == 4:
        return f.ethernet(0x0800, f.ipv4(protocol, body, f"10.0.0.{source}", f"10.0.0.{target}"))
    return f.ethernet(0x86DD, f.ipv6(protocol, body, f"fd00::{source}", f"fd00:0:0:{target}::"))


@settings(max_examples=150, deadline=None)
@given(st.lists(PACKETS, min_size=1, max_size=4))
def test_counts_equal_a_dictionary(rounds: list[list[tuple[int, int, tuple[int, int], tuple[int, int], int]]]) -> None:
    table = FlowTable(4096)
    wanted: dict[tuple[object, ...], Counter[str]] = defaultdict(Counter)
    for packets in rounds:
        batch = f.batch([made(packet) for packet in packets])
        table.update(batch, decode(batch))
        for family, protocol, source, target, size in packets:
            one = (f"10.0.0.{source[0]}" if family == 4 else f"fd00::{source[0]}" if source[0] else "fd00::", source[1])
            two = (
                f"10.0.0.{target[0]}" if family == 4 else f"fd00:0:0:{target[0]}::" if target[0] else "fd00::",
                target[1],
            )
            wanted[family, protocol, one, two].update(packets=1, payload=size)
    found: dict[tuple[object, ...], Counter[str]] = defaultdict(Counter)
    for flow in records(table):
        family = 6 if ":" in flow.initiator.address else 4
        ends = [(end.address, end.port) for end in (flow.initiator, flow.responder)]
        for (one, two), sent in ((ends, flow.sent), (ends[::-1], flow.received)):
            if sent.packets:
                found[family, flow.protocol, one, two].update(packets=sent.packets, payload=sent.payload_bytes)
            if one == two:
                break
    assert found == wanted


def many(count: int, start: int = 0) -> PacketBatch:
    """One UDP packet of each of `count` flows, made in columns."""
    packet = np.frombuffer(f.ethernet(0x0800, f.ipv4(17, f.udp(1, 2, b"data"))), np.uint8)
    rows = np.tile(packet, (count, 1))
    rows[:, 26:30] = (0x0A000000 + start + np.arange(count)).astype(">u4").view(np.uint8).reshape(-1, 4)
    size = np.full(count, len(packet), np.uint32)
    return PacketBatch.of_frames(rows, 0, size, size, np.zeros(count, np.int64), np.zeros(count, np.uint16))


def test_sums_stay_true_when_flows_are_evicted() -> None:
    table, fed_packets, fed_bytes = FlowTable(1024), 0, 0
    for start in range(0, 20_000, 900):
        batch = many(1000, start)
        table.update(batch, decode(batch))
        fed_packets += len(batch)
        fed_bytes += int(batch.lengths.sum())
        assert len(table) <= 1024
    total = everything(table)
    assert (total.packets, total.wire_bytes, total.payload_bytes) == (fed_packets, fed_bytes, fed_packets * 4)
    assert table.evicted.flows > 0
    assert len(list(records(table))) == len(table)


def test_the_least_recently_used_go_first() -> None:
    table = FlowTable(1024)
    kept, fresh = many(64), 100
    for _ in range(40):
        for batch in (kept, many(100, fresh)):
            table.update(batch, decode(batch))
        fresh += 100
    by_address = {flow.initiator.address: flow for flow in records(table)}
    assert by_address["10.0.0.63"].sent.packets == 40
    assert by_address["10.0.0.0"].flow_id == 1
    assert f"10.0.{(fresh - 1) >> 8}.{(fresh - 1) & 255}" in by_address


def test_names_go_with_their_flows() -> None:
    table = FlowTable(64)
    first = many(1)
    update = table.update(first, decode(first))
    table.name(int(update.look_rows[0]), 1, "example.org", "dns")
    for start in range(1, 300, 8):
        batch = many(8, start)
        table.update(batch, decode(batch))
    assert not table.names
    assert all(flow.domain is None for flow in records(table))


def test_keys_with_the_same_hash_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(_index: KeyIndex, key: list[U64]) -> U64:
        return np.full(len(key[0]), 5, np.uint64)

    monkeypatch.setattr(KeyIndex, "_hash", same)
    index = KeyIndex(64, 2, lambda rows: None)
    words = [np.array([1, 2, 1, 3], np.uint64), np.array([9, 9, 9, 9], np.uint64)]
    rows = index.place(words, 1)
    assert rows[0] == rows[2]
    assert len(set(rows.tolist())) == 3
    assert (index.find(words) == rows).all()
    assert index.find([np.array([4], np.uint64), np.array([9], np.uint64)]).tolist() == [-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=4), max_size=60))
def test_the_index_forgets_only_the_oldest(rounds: list[list[int]]) -> None:
    gone: set[int] = set()
    index = KeyIndex(32, 1, lambda rows: gone.update(index.words[0][rows].tolist()))
    last: dict[int, int] = {}
    for now, keys in enumerate(rounds, 1):
        index.place([np.array(keys, np.uint64)], now)
        last.update(dict.fromkeys(keys, now))
        oldest_kept = min((last[key] for key in last if key not in gone), default=0)
        assert all(last[key] <= oldest_kept for key in gone)
        for key in gone:
            last.pop(key, None)
        gone.clear()
        live = set(index.words[0][index.live].tolist())
        assert live == set(last)
        assert (index.find([np.array(keys, np.uint64)]) >= 0).all()
