"""The table of pairs in shared memory, with programs and a clock of our own."""

import mmap
import struct
from collections import Counter, deque
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.platforms.linux import count_table, pair_table
from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.count_table import tick_ns
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.pair_table import LEAVING_NS, PAIR, PairTable
from hostscope.platforms.linux.payload_record import COUNTS, KEY, USAGE, flow_again, flow_of
from hostscope.platforms.posix_accounts import Accounts

IDLE_TICKS = count_table.IDLE_S * 1_000_000_000 // tick_ns()


class Kernel:
    """What bpf/traffic.bpf.c does, one step after the other, and the maps that it does it in."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.pairs = mmap.mmap(-1, mmap.PAGESIZE * -(-entries * PAIR.size // mmap.PAGESIZE))
        self.known: dict[bytes, bytes] = {}
        self.freed = deque[int]()
        self.next = SimpleNamespace(value=0)
        self.tick, self.lost = 1, 0

    def map(self, name: str) -> Any:
        if name == "freed":
            return SimpleNamespace(push=lambda raw: self.freed.append(struct.unpack("=I", raw)[0]))
        if name == "known":
            return SimpleNamespace(lookup=self.known.get, delete=lambda key: bool(self.known.pop(key, None)))
        return SimpleNamespace(entries=self.entries)

    def memory(self, name: str) -> mmap.mmap:
        return self.pairs

    def variable(self, name: str) -> Any:
        return self.next

    def send(self, number: int, size: int) -> int | None:
        """Counts; in which element."""
        key = key_of(number)
        index = struct.unpack_from("=I", self.known[key])[0] if key in self.known else self._begin(key)
        if index is None:
            self.lost += size
        else:
            self.add(index, size)
        return index

    def add(self, index: int, size: int) -> None:
        key, counts = PAIR.unpack_from(self.pairs, index * PAIR.size)
        sent, received, sends, receives, _ = COUNTS.unpack(counts)
        changed = COUNTS.pack(sent + size, received, sends + 1, receives, self.tick)
        PAIR.pack_into(self.pairs, index * PAIR.size, key, changed)

    def _begin(self, key: bytes) -> int | None:
        if self.freed:
            index = self.freed.popleft()
        else:
            index, self.next.value = self.next.value, self.next.value + 1
        if index >= self.entries:
            return None
        assert self.pairs[index * PAIR.size : (index + 1) * PAIR.size] == bytes(PAIR.size)
        self.known[key] = struct.pack("=II", index, 0) + b"d" * 88
        self.pairs[index * PAIR.size : index * PAIR.size + KEY.size] = key
        return index


class Clock:
    """Nanoseconds that pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        monkeypatch.setattr(pair_table, "time", SimpleNamespace(monotonic_ns=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def key_of(number: int) -> bytes:
    return KEY.pack(number + 1, 7, 8, 9)


def table_of(kernel: Kernel, dropped: list[tuple[bytes, bytes]] | None = None) -> PairTable:
    told = [] if dropped is None else dropped
    return PairTable(cast(Programs, kernel), lambda key, counts: told.append((key, counts)))


def sent(found: dict[bytes, bytes]) -> dict[bytes, int]:
    return {key: COUNTS.unpack(counts)[0] for key, counts in found.items()}


def test_elements_in_use_are_read() -> None:
    kernel = Kernel(8)
    for number in range(3):
        kernel.send(number, 10 + number)
    table = table_of(kernel)
    assert sent(table.read()) == {key_of(0): 10, key_of(1): 11, key_of(2): 12}
    assert table.describe(key_of(1)) == b"d" * 88 and table.describe(key_of(5)) is None


def test_a_key_without_its_cookie_is_not_there_yet() -> None:
    kernel = Kernel(8)
    kernel.send(0, 10)
    kernel.pairs[:8] = bytes(8)
    assert table_of(kernel).read() == {}


def test_what_is_counted_beyond_the_end_is_not_read() -> None:
    kernel = Kernel(2)
    for number in range(5):
        kernel.send(number, 1)
    assert kernel.next.value > kernel.entries and kernel.lost == 3
    assert len(table_of(kernel).read()) == 2


def crowded(kernel: Kernel, table: PairTable) -> None:
    """Four of five go, being idle."""
    for number in range(4):
        kernel.send(number, 10)
    kernel.tick += 2 * IDLE_TICKS
    kernel.send(4, 10)
    table.read()
    table.make_room()


def test_a_roomy_table_keeps_all(clock: Clock) -> None:
    kernel = Kernel(80)
    crowded(kernel, table_of(kernel))
    assert len(kernel.known) == 5


def test_what_leaves_is_counted_until_its_element_is_free(clock: Clock) -> None:
    kernel = Kernel(4 + 2)
    table = table_of(kernel)
    crowded(kernel, table)
    assert len(kernel.known) == 1 and not kernel.freed
    kernel.add(0, 5)  # by a program that had found it before
    assert sent(table.read()) == {key_of(n): 10 + 5 * (n == 0) for n in range(5)}
    clock.now += LEAVING_NS - 1
    table.read()
    assert not kernel.freed
    clock.now += 1
    assert sent(table.read())[key_of(0)] == 15
    assert list(kernel.freed) == [0, 1, 2, 3]
    assert kernel.pairs[: 4 * PAIR.size] == bytes(4 * PAIR.size)


def test_what_comes_back_goes_on_and_others_get_its_element(clock: Clock) -> None:
    kernel = Kernel(6)
    table = table_of(kernel)
    crowded(kernel, table)
    assert kernel.send(0, 7) == 5
    assert sent(table.read())[key_of(0)] == 17
    clock.now += LEAVING_NS
    table.read()
    assert kernel.send(9, 3) == 0
    assert sent(table.read()) == {key_of(0): 17, **{key_of(n): 10 for n in range(1, 5)}, key_of(9): 3}


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=120))
def test_nothing_is_lost_or_mixed_up(entries: int, steps: list[tuple[int, int]]) -> None:
    """Pairs send, time passes, the table is read and made room in, in any order: all that was counted is somewhere."""
    with pytest.MonkeyPatch.context() as patched:
        clock, kernel, dropped = Clock(patched), Kernel(entries), list[tuple[bytes, bytes]]()
        table, wanted = table_of(kernel, dropped), Counter[bytes]()
        for number, action in steps:
            if action < 6:
                if kernel.send(number, action + 1) is not None:
                    wanted[key_of(number)] += action + 1
            elif action == 6:
                kernel.tick += IDLE_TICKS
            elif action == 7:
                clock.now += LEAVING_NS // 2
            else:
                found = sent(table.read())
                for key, counts in dropped:
                    found[key] = found.get(key, 0) + COUNTS.unpack(counts)[0]
                assert found == wanted
                table.make_room()


@given(st.lists(st.integers(0, 1 << 62), min_size=5, max_size=5), st.binary(min_size=88, max_size=88))
def test_a_flow_with_other_counts_is_as_one_made_anew(numbers: list[int], description: bytes) -> None:
    boot, key, first = Boot("b", 1, 1_000), KEY.pack(1, 2, 3, 4), COUNTS.pack(1, 2, 3, 4, 5)
    assert len(first + description) == USAGE.size
    before, counts = flow_of(key, first + description, boot, Accounts(), 7), COUNTS.pack(*numbers)
    assert flow_again(before, first, counts, 7) == flow_of(key, counts + description, boot, Accounts(), 7)
