"""Ten thousand processes start and end while the host is being swept."""

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from hostscope.model.coverage import Coverage
from hostscope.model.process import Process
from hostscope.model.request import BASIC, FULL
from hostscope.platforms.linux.context import NAMESPACES
from tests.zoo.build import program
from tests.zoo.sight import sweep

pytestmark = [pytest.mark.system, pytest.mark.root]

FORKS, WINDOW, CORES = 5_000, 40, (0, 1)
DEADLINE_S = 60


@pytest.fixture(params=("iterator", "proc"))
def method(request: pytest.FixtureRequest) -> str:
    """Each method in turn; skipped here where it cannot be used, not in the storm."""
    name: str = request.param
    sweep(name, BASIC)
    return name


@contextmanager
def storm() -> Iterator[list[subprocess.Popen[str]]]:
    """One process per core, forking from now on."""
    makers: list[subprocess.Popen[str]] = []
    try:
        for core in CORES:
            command = [str(program("storm")), str(core), str(FORKS), str(WINDOW)]
            makers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for maker in makers:
            assert maker.stdout and maker.stdout.readline() == "ready\n"
        for maker in makers:
            assert maker.stdin
            maker.stdin.write("\n")
            maker.stdin.flush()
        yield makers
    finally:
        for maker in makers:
            maker.kill()
            with suppress(BrokenPipeError):
                maker.communicate(timeout=DEADLINE_S)


def through_the_storm(method: str, fields: frozenset[str]) -> Iterator[tuple[list[Process], Coverage, frozenset[int]]]:
    """Sweeps until all forks are through; with each, the makers' pids."""
    deadline = time.monotonic() + DEADLINE_S
    with storm() as makers:
        pids = frozenset(maker.pid for maker in makers)
        while any(maker.poll() is None for maker in makers):
            assert time.monotonic() < deadline
            yield *sweep(method, fields), pids
        for maker in makers:
            assert maker.stdout and maker.stdout.read() == f"{FORKS}\n"


def of_the_storm(row: Process, makers: frozenset[int]) -> bool:
    return row.pid not in makers and (row.ppid in makers or row.name == "storm")


def whole(row: Process) -> bool:
    """Whether it has all that comes with an address space, or nothing of it: it may just have given that up."""
    if row.exe is None and row.argv is None and row.memory is None:
        return {gap.field for gap in row.gaps} <= {"linux.dumpable"}
    return bool(row.exe and row.argv is not None and row.memory and row.state not in ("zombie", "dead"))


def placed(row: Process) -> bool:
    """Whether what `FULL` adds is there for a process that is not ending."""
    linux = row.linux
    assert linux and linux.capabilities and row.security and row.io and row.groups == ()
    spaces = linux.namespaces and [getattr(linux.namespaces, name) for name in NAMESPACES]
    return bool(spaces and all(spaces) and row.cwd and row.root == "/" and linux.cgroup and linux.oom_score is not None)


def true(row: Process, makers: frozenset[int]) -> bool:
    """Whether the arguments are those of a maker, of a leaf, or none: execve(2) sets them after the image."""
    if row.argv is None or row.argv == ():
        return True
    maker = tuple(row.argv[2:]) == (str(FORKS), str(WINDOW)) and row.argv[0].endswith("storm")
    return maker or row.argv == ("storm", "leaf", str(row.pid))


@pytest.mark.parametrize("fields", [BASIC, FULL], ids=["basic", "full"])
def test_sweeps_during_a_storm(method: str, fields: frozenset[str]) -> None:
    sweeps, seen, vanished, states = 0, 0, 0, Counter[str]()
    executable = str(program("storm"))
    for rows, coverage, makers in through_the_storm(method, fields):
        keys = [row.key for row in rows]
        assert len(set(keys)) == len(keys) == len({key.pid for key in keys})
        assert [key.pid for key in keys] == sorted(key.pid for key in keys)
        assert coverage.failed == coverage.denied == coverage.lost == 0, coverage
        assert coverage.seen == len(rows) + coverage.vanished
        assert all(row.name and row.started_at_ns and row.owner and row.ids for row in rows)
        storming = [row for row in rows if of_the_storm(row, makers)]
        assert [row for row in storming if not whole(row)] == []
        assert [row for row in storming if not true(row, makers)] == []
        if fields is FULL:
            assert [row for row in storming if row.exe and not placed(row)] == []
        assert {row.exe.path for row in storming if row.exe} <= {executable}
        states.update(str(row.state) if row.exe else f"{row.state}, ending" for row in storming)
        sweeps, seen, vanished = sweeps + 1, seen + len(storming), vanished + coverage.vanished
    print(f"\n{method}: {sweeps} sweeps saw {seen} short-lived processes {dict(states)}; {vanished} vanished")
    assert sweeps > 1 and seen > 0
    if method == "proc":
        assert vanished > 0
