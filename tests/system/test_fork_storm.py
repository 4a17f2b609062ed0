"""Ten thousand processes start and end while the host is being swept."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from hostscope.model.coverage import Coverage
from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.model.request import BASIC, FULL
from hostscope.platforms.linux.context import NAMESPACES
from tests.zoo.build import program
from tests.zoo.sight import sweep

pytestmark = [pytest.mark.system, pytest.mark.root]

GUSTS, GUST, WINDOW, CORES = 25, 200, 120, (0, 1)
"""Ten thousand forks in all; each of the first sweeps has a gust of its own on each core."""
DEADLINE_S = 60


@pytest.fixture(params=("iterator", "proc"))
def method(request: pytest.FixtureRequest) -> str:
    """Each method in turn; skipped here where it cannot be used, not in the storm."""
    name: str = request.param
    sweep(name, BASIC)
    return name


@contextmanager
def makers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """One process per core that is ready to fork."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for core in CORES:
            command = [str(program("storm")), str(core), str(GUST), str(WINDOW)]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        for maker in started:
            assert maker.stdout and maker.stdout.readline() == b"ready\n"
        yield started
    finally:
        for maker in started:
            maker.kill()
            maker.wait(DEADLINE_S)
            for pipe in (maker.stdin, maker.stdout):
                assert pipe
                with suppress(BrokenPipeError):
                    pipe.close()


def through_the_storm(method: str, fields: frozenset[str]) -> Iterator[tuple[list[Process], Coverage, frozenset[int]]]:
    """Sweeps, one for each gust and then until all have ended; with each, the makers' pids."""
    with makers() as started:
        pids = frozenset(maker.pid for maker in started)
        for _ in range(GUSTS):
            for maker in started:
                assert maker.stdin
                maker.stdin.write(b"g")
                maker.stdin.flush()
            yield *sweep(method, fields), pids
        for maker in started:
            assert maker.stdin
            maker.stdin.close()
        while any(maker.poll() is None for maker in started):
            yield *sweep(method, fields), pids
        for maker in started:
            assert maker.stdout and maker.stdout.read() == b"%d\n" % (GUSTS * GUST)


def of_the_storm(row: Process, parents: frozenset[int]) -> bool:
    return row.pid not in parents and (row.ppid in parents or row.name == "storm")


def whole(row: Process) -> bool:
    """Whether it has all that comes with an address space, or nothing of it: it may just have given that up."""
    if row.exe is None and row.argv is None and row.memory is None:
        return {gap.field for gap in row.gaps} <= {"linux.dumpable", "linux.cgroup", "container", "service"}
    # The iterator asks /proc for arguments that were not in memory; the process may have ended by then, which it says.
    argv = row.argv is not None or [gap.reason for gap in row.gaps if gap.field == "argv"] == [Reason.GONE]
    return bool(row.exe and argv and row.memory and row.state not in ("zombie", "dead"))


def placed(row: Process) -> bool:
    """Whether what `FULL` adds is there for a process that is not ending."""
    linux = row.linux
    assert linux and linux.capabilities and row.security and row.io and row.groups == ()
    spaces = linux.namespaces and [getattr(linux.namespaces, name) for name in NAMESPACES]
    # The iterator asks /proc for a control group that it did not meet before; the process may have ended by then.
    assert linux.cgroup or [gap.reason for gap in row.gaps if gap.field == "linux.cgroup"] == [Reason.GONE]
    return bool(spaces and all(spaces) and row.cwd and row.root == "/" and linux.oom_score is not None)


def true(row: Process) -> bool:
    """Whether the arguments are those of a maker, of a leaf, or none: execve(2) sets them after the image."""
    if row.argv is None or row.argv == ():
        return True
    maker = tuple(row.argv[2:]) == (str(GUST), str(WINDOW)) and row.argv[0].endswith("storm")
    return maker or row.argv == ("storm", "leaf", str(row.pid))


@pytest.mark.parametrize("fields", [BASIC, FULL], ids=["basic", "full"])
def test_sweeps_during_a_storm(method: str, fields: frozenset[str]) -> None:
    sweeps, seen, vanished, states = 0, 0, 0, Counter[str]()
    executable = str(program("storm"))
    for rows, coverage, parents in through_the_storm(method, fields):
        keys = [row.key for row in rows]
        assert len(set(keys)) == len(keys) == len({key.pid for key in keys})
        assert [key.pid for key in keys] == sorted(key.pid for key in keys)
        assert coverage.failed == coverage.denied == coverage.lost == 0, coverage
        assert len(rows) <= coverage.seen <= len(rows) + coverage.vanished
        assert all(row.name and row.started_at_ns and row.owner and row.ids for row in rows)
        storming = [row for row in rows if of_the_storm(row, parents)]
        assert [row for row in storming if not whole(row)] == []
        assert [row for row in storming if not true(row)] == []
        if method == "proc":
            assert [row for row in storming if row.exe and row.argv is None] == []
        if fields is FULL:
            assert [row for row in storming if row.exe and not placed(row)] == []
        assert {row.exe.path for row in storming if row.exe} <= {executable}
        states.update(str(row.state) if row.exe else f"{row.state}, ending" for row in storming)
        sweeps, seen, vanished = sweeps + 1, seen + len(storming), vanished + coverage.vanished
    print(f"\n{method}: {sweeps} sweeps saw {seen} short-lived processes {dict(states)}; {vanished} vanished")
    assert sweeps >= GUSTS and seen > GUSTS
    if method == "proc":
        assert vanished > 0
