"""Both methods give the same record of the same process."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import BASIC, FULL
from tests.system.settling import lasting
from tests.zoo.creature import Creature, kernel_state, rests, until
from tests.zoo.sight import sweep

pytestmark = [pytest.mark.system, pytest.mark.root]

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

DIFFERENT: dict[str, str] = {
    "linux.dumpable": "/proc does not show it, and says so in a gap",
    "gaps": "the gap of linux.dumpable",
}
"""Fields in which the methods may always differ, and why."""

VOLATILE: dict[str, tuple[float, str]] = {
    "cpu.user_ns": (2 * TICK_NS, "/proc counts in ticks, and divides the sum anew at each look"),
    "cpu.system_ns": (2 * TICK_NS, "the same"),
    "cpu.children_user_ns": (TICK_NS, "/proc counts in ticks"),
    "cpu.children_system_ns": (TICK_NS, "/proc counts in ticks"),
    "linux.oom_score": (2, "follows resident memory, which the kernel sums per CPU with an error"),
}
"""Fields that may differ by so much even when nothing happened between the two looks, and why."""


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a record under its dotted path."""
    if not isinstance(value, msgspec.Struct):
        yield prefix, value
        return
    for name in value.__struct_fields__:
        yield from flat(getattr(value, name), f"{prefix}.{name}" if prefix else name)


def leaves(row: Process) -> dict[str, Any]:
    return {path: value for path, value in flat(row) if path not in DIFFERENT}


def differs(path: str, one: Any, other: Any) -> bool:
    slack = VOLATILE.get(path, (0, ""))[0]
    if slack and isinstance(one, int) and isinstance(other, int):
        return abs(one - other) > slack
    return bool(one != other)


@pytest.fixture(params=[BASIC, FULL], ids=["basic", "full"])
def fields(request: pytest.FixtureRequest) -> frozenset[str]:
    """Field groups to compare."""
    chosen: frozenset[str] = request.param
    return chosen


Framed = tuple[dict[ProcessKey, Process], dict[ProcessKey, Process], dict[ProcessKey, Process]]


def frame(fields: frozenset[str]) -> Framed:
    """The iterator's rows between two looks at /proc: what those have in common hardly changed meanwhile."""
    looks = [sweep(method, fields)[0] for method in ("proc", "iterator", "proc")]
    before, between, after = ({row.key: row for row in rows if row.pid != os.getpid()} for rows in looks)
    return before, between, after


def differences(framed: Framed) -> dict[tuple[ProcessKey, str], str]:
    """By process and field."""
    found = {}
    for key in framed[0].keys() & framed[1].keys() & framed[2].keys():
        old, ours, new = (leaves(rows[key]) for rows in framed)
        for path in old.keys() | ours.keys():
            if old.get(path) == new.get(path) and differs(path, ours.get(path), old.get(path)):
                found[key, path] = f"{key.pid} {path}: iterator {ours.get(path)!r}, proc {old.get(path)!r}"
    return found


def test_all_processes(fields: frozenset[str]) -> None:
    """What differs each time is wrong."""
    found = lasting(lambda: differences(frame(fields)))
    assert not found, "\n" + "\n".join(found.values())


def test_most_fields_are_compared(fields: frozenset[str]) -> None:
    """What the test above leaves out because it changed is a small part."""
    before, between, after = frame(fields)
    stayed = before.keys() & after.keys()
    assert stayed - between.keys() == set()
    pairs = [(leaves(before[key]), leaves(after[key])) for key in stayed]
    total = sum(len(old) for old, _ in pairs)
    same = sum(old.get(path) == new.get(path) for old, new in pairs for path in old)
    assert total > 30 * len(stayed) > 0
    assert same > 0.95 * total


def test_both_list_the_same_processes(fields: frozenset[str]) -> None:
    before, between, after = frame(fields)
    assert (before.keys() & after.keys()) - between.keys() == set()
    assert [key.pid for key in between] == sorted(key.pid for key in between)


def stopped(child: Creature) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    until(lambda: kernel_state(child.pid) == "T", "stopped")


STEPS: dict[str, Callable[[Creature], object]] = {
    "plain": lambda child: None,
    "stopped": stopped,
    "threads": lambda child: child.do("threads", 5),
    "seccomp": lambda child: child.do("filter"),
    "caps": lambda child: child.do("caps", 1 << 13, 1 << 13, 0),
    "ids": lambda child: child.do("uids", 1, 2, 3),
    "user namespace": lambda child: child.do("unshare", 0x1000_0000),
    "nice": lambda child: child.do("nice", 7),
    "memory": lambda child: child.do("resident", 32),
    "name": lambda child: child.do("comm", b"\xff(\n)"),
    "memfd": lambda child: child.do("memfd", "x"),
    "title": lambda child: child.do("title", "t"),
    "descriptors": lambda child: child.do("descriptors", 300),
    "bare": lambda child: child.do("bare", "/proc/self/exe"),
    "groups": lambda child: child.do("groups", 1, 2, 3),
    "headless": lambda child: child.do("leave_threads"),
    "time namespace": lambda child: (child.do("unshare", 0x80), child.fork()),
    "pid namespace": lambda child: (child.do("unshare", 0x2000_0000), child.fork()),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_resting_child(step: str) -> None:
    """Nothing happens between the looks, so nothing but what is stated may differ, volatile numbers included."""
    with Creature(["creature", "--resting"]) as child:
        STEPS[step](child)
        until(lambda: rests(child.pid), "at rest")
        records = []
        for method in ("iterator", "proc"):
            (row,) = (row for row in sweep(method)[0] if row.pid == child.pid)
            records.append(leaves(row))
        assert records[0].keys() == records[1].keys()
        found = {
            path: (records[0][path], records[1][path])
            for path in records[0]
            if differs(path, records[0][path], records[1][path])
        }
        assert found == {}
