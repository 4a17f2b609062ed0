"""What the eBPF programs of traffic write, as numbers and flows."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts
from hostscope.platforms.linux import count_table
from hostscope.platforms.linux.bpf_maps import Elements
from hostscope.platforms.linux.clock import TICK_NS, Boot
from hostscope.platforms.linux.count_table import CountTable, tick_ns
from hostscope.platforms.linux.packet_counter import Element, in_units_of, receiving_headless, segmenting
from hostscope.platforms.linux.packet_record import CARRIED, KEY, parse_carried, parse_key, without_identifier
from hostscope.platforms.linux.payload_record import KEY as PAIR
from hostscope.platforms.linux.payload_record import USAGE, flow_of
from hostscope.platforms.linux.rtnetlink import Link
from hostscope.platforms.posix_accounts import Accounts

BOOT = Boot("b", 4026531836, 1_000_000_000)
V4, MAPPED = bytes((10, 0, 0, 1)) + bytes(12), bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1))


def usage(local: bytes, family: int, protocol: int = 6, kind: int = 1, flags: int = 0, port: int = 22) -> bytes:
    name = b"sshd".ljust(16, b"\0")
    return USAGE.pack(
        1, 2, 3, 4, 110, 5_000, 100, local, port, local, 9, 0, 4026531833, family, protocol, kind, flags, name
    )


def test_a_pair_is_a_flow() -> None:
    key = PAIR.pack(77, 5 * TICK_NS + 3, 42, 1)
    flow = flow_of(key, usage(V4, 2, flags=2), BOOT, Accounts(), 4_000_000)
    assert flow.key == BOOT.key(42, 5)
    assert (flow.protocol, flow.direction, flow.cookie, flow.name) == ("tcp", "inbound", 77, "sshd")
    assert (flow.local, flow.remote) == (Endpoint("10.0.0.1", 22), Endpoint("10.0.0.1", 9))
    assert flow.payload == Counts(1, 2, 3, 4) and flow.wire is None
    assert flow.first_at_ns == 1_000_005_000 and flow.last_at_ns == 1_000_005_000 + 10 * 4_000_000


def test_mapped_addresses_are_plain_ones() -> None:
    assert flow_of(PAIR.pack(1, 1, 1, 1), usage(MAPPED, 10), BOOT, Accounts(), 1).local == Endpoint("10.0.0.1", 22)


def test_raw_sockets_have_no_ports_and_the_kernels_no_process() -> None:
    flow = flow_of(PAIR.pack(1, 1, 1, 1), usage(V4, 2, protocol=1, kind=3, flags=1), BOOT, Accounts(), 1)
    assert flow.local == Endpoint("10.0.0.1", None) and flow.protocol == "icmp"
    assert (flow.key, flow.unknown) == (None, "kernel")


@given(st.binary(min_size=PAIR.size, max_size=PAIR.size), st.binary(min_size=USAGE.size, max_size=USAGE.size))
def test_any_bytes_are_a_flow(key: bytes, value: bytes) -> None:
    flow_of(key, value, BOOT, Accounts(), 1)


def packet(flags: int = 0, family: int = 4, protocol: int = 17, ether_type: int = 0, interface: int = 2) -> bytes:
    return KEY.pack(V4, b"\x0a\0\0\x02" + bytes(12), 1000, 53, interface, family, protocol, flags, ether_type)


def test_the_local_end_comes_first() -> None:
    assert parse_key(packet(flags=1)).ends == ("udp", "10.0.0.1", 1000, "10.0.0.2", 53)
    assert parse_key(packet()).ends == ("udp", "10.0.0.2", 53, "10.0.0.1", 1000)


def test_what_is_not_ip_has_the_name_of_its_type() -> None:
    assert parse_key(packet(family=0, ether_type=0x0806)).ends[0] == "arp"
    assert parse_key(packet(family=0, ether_type=0x1234)).ends[0] == "0x1234"


def test_an_echos_identifier_is_no_port() -> None:
    ends = parse_key(packet(flags=1, protocol=1)).ends
    assert without_identifier(ends) == ("icmp", "10.0.0.1", None, "10.0.0.2", None)
    assert without_identifier(("tcp", "a", 1, "b", 2)) == ("tcp", "a", 1, "b", 2)


@given(st.binary(min_size=KEY.size, max_size=KEY.size), st.binary(min_size=CARRIED.size, max_size=CARRIED.size))
def test_any_bytes_are_packets(key: bytes, value: bytes) -> None:
    parse_key(key)
    parse_carried(value)


def test_units_are_the_interfaces() -> None:
    carried = parse_carried(CARRIED.pack(10, 1000, 15, 270, 0, 0, 0, 0))
    sent, received = parse_key(packet(flags=1)), parse_key(packet())
    cable, bridge = Link(2, "a", 1, 0, kind="veth"), Link(3, "b", 1, 0, kind="bridge")
    assert in_units_of(cable, sent, carried, False) == Counts(1000, 0, 10, 0)
    assert in_units_of(cable, sent, carried, True) == Counts(1270, 0, 15, 0)
    assert in_units_of(bridge, received, carried, False) == Counts(0, 1000 - 140, 0, 10)
    assert in_units_of(bridge, sent, carried, False) == Counts(1000, 0, 10, 0)


@pytest.mark.parametrize(("counted", "found"), [(10, set()), (11, set()), (15, {2}), (16, {2})])
def test_whether_an_interface_counts_segments_is_seen_from_its_packets(counted: int, found: set[int]) -> None:
    element = Element(parse_key(packet()), CARRIED.pack(10, 1000, 15, 270, 0, 0, 0, 0))
    assert segmenting([element], {2: Counts(0, 0, 0, counted)}) == found


@pytest.mark.parametrize(("counted", "found"), [(1000, set()), (931, set()), (930, {2}), (860, {2}), (0, {2})])
def test_veth_devices_that_count_no_link_headers_are_seen_from_their_bytes(counted: int, found: set[int]) -> None:
    carried = CARRIED.pack(10, 1000, 10, 0, 0, 0, 0, 0)
    elements = [Element(parse_key(packet()), carried), Element(parse_key(packet(flags=1)), carried)]
    cable, real = Link(2, "a", 1, 0, kind="veth"), Link(2, "a", 1, 0)
    counts = {2: Counts(0, counted, 0, 10)}
    assert receiving_headless(elements, counts, {2: cable}, set()) == found
    assert receiving_headless(elements, counts, {2: real}, set()) == set()
    assert receiving_headless(elements[1:], counts, {2: cable}, set()) == set()
    received, carried_ = elements[0].packets, elements[0].carried
    assert in_units_of(cable, received, carried_, False, True) == Counts(0, 860, 0, 10)
    assert in_units_of(cable, elements[1].packets, carried_, False, True) == Counts(1000, 0, 10, 0)


class Table:
    """A kernel map in memory: 8-byte keys, four counters and a tick."""

    key_bytes, stride_bytes = 8, 40

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.content: dict[bytes, bytes] = {}

    def put(self, key: int, counters: tuple[int, int, int, int], tick: int) -> None:
        self.content[struct.pack("=Q", key)] = struct.pack("=5Q", *counters, tick)

    def pieces(self) -> list[Elements]:
        return [Elements(len(self.content), b"".join(self.content), b"".join(self.content.values()))]

    def lookup(self, key: bytes) -> bytes | None:
        return self.content.get(key)

    def delete(self, key: bytes) -> bool:
        return self.content.pop(key, None) is not None


def counters(found: dict[bytes, bytes], key: int) -> tuple[int, ...]:
    return struct.unpack_from("=4Q", found[struct.pack("=Q", key)])


def test_what_is_idle_leaves_the_kernel_and_is_kept() -> None:
    table, dropped = Table(entries=8), list[bytes]()
    kept = CountTable(table, 32, lambda key, value: dropped.append(key))  # type: ignore[arg-type]
    late = 2 * count_table.IDLE_S * 1_000_000_000 // tick_ns()
    for key in range(6):
        table.put(key, (key, 1, 1, 1), late if key > 3 else key)
    found = kept.read()
    assert len(found) == 6 and len(table.content) == 2 and not dropped
    table.put(3, (10, 1, 1, 1), late)
    assert counters(kept.read(), 3) == (13, 2, 2, 2)


def test_what_finds_no_room_here_either_is_told() -> None:
    table, dropped = Table(entries=2), list[bytes]()
    kept = CountTable(table, 32, lambda key, value: dropped.append(key))  # type: ignore[arg-type]
    late = 2 * count_table.IDLE_S * 1_000_000_000 // tick_ns()
    for number in range(5):
        table.put(2 * number, (1, 0, 0, 0), number * late)
        table.put(2 * number + 1, (1, 0, 0, 0), (number + 1) * late)
        kept.read()
    assert dropped


def test_busy_ones_stay() -> None:
    table = Table(entries=4)
    for key in range(4):
        table.put(key, (1, 1, 1, 1), 1000 + key)
    CountTable(table, 32, lambda key, value: None).read()  # type: ignore[arg-type]
    assert len(table.content) == 4
