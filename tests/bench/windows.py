"""Windows' processes through the whole collector, on answers that a small C library gives as Windows would.

The library has the names, layouts and results of Windows' functions, so our code and every call through ctypes is as it
is there; what the kernel itself takes is left out. `python -m tests.bench.windows live [CHILDREN]` runs inside Wine (or
Windows) instead, beside psutil on the same children.
"""

import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hostscope.collectors import processes as collector
from hostscope.model.request import BASIC, ProcessRequest
from tests.bench.measure import show

MANY, WATCHED, CHILDREN = 10_000, 1_000, 500
SAMPLE = 20
"""Children that psutil reads: for each it asks for the whole list of processes, several times."""
SAME = ("pid", "ppid", "create_time", "cmdline", "num_threads", "cpu_times", "memory_info")
"""What psutil reads under Wine; its `exe` and `name` fail there."""


class _Host:
    """The parts of a host that the collector asks."""

    gaps = ()

    def __init__(self) -> None:
        from hostscope.platforms.windows.clock import Boot
        from hostscope.platforms.windows.processes import Processes
        from hostscope.platforms.windows.security_context import SecurityContexts

        unused: Any = None
        self.processes = Processes(Boot("bench", 0), SecurityContexts(), _Unraised(), unused, unused)


class _Unraised:
    """Privileges are raised once a sweep; that is left out."""

    notes: tuple[str, ...] = ()

    def using(self, names: tuple[str, ...], why: str) -> Any:
        return nullcontext()


def install(folder: str) -> Any:
    """Answers for Windows' libraries from C from now on."""
    from hostscope.platforms.windows.native import token
    from tests.unit.platforms.windows.scripted_security import Token

    target = f"{folder}/natives.so"
    source = str(Path(__file__).with_name("windows_natives.c"))
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", target, source], check=True)
    natives = ctypes.CDLL(target)
    natives.take_calls.restype = ctypes.c_uint64
    for library in libraries():
        for name, (result, arguments) in library.signatures.items():
            if hasattr(natives, name):
                bound = type(natives)(target)[name]
                bound.restype, bound.argtypes = result, list(arguments)
                vars(library)[name] = bound
    user = Token().answer(token.TokenUser, 0)
    assert user is not None
    natives.set_answer(token.TokenUser, user, len(user), 0, 8, 1)
    return natives


def libraries() -> tuple[Any, ...]:
    """Those that rows are read with."""
    from hostscope.platforms.windows.native import handles, memory, ntdll, process, token

    return (
        handles.kernel32, process.kernel32, process.user32, ntdll.ntdll, memory.kernel32, token.advapi32,
        token.kernel32,
    )  # fmt: skip


def sweep(host: Any, fields: frozenset[str]) -> tuple[int, float, float]:
    """Rows, wall seconds and processor seconds of one sweep whose rows are let go of as they come."""
    began, busy = time.perf_counter(), time.process_time()
    answer = collector.collect(host, ProcessRequest(fields=fields))
    rows = sum(1 for _ in answer)
    taken = time.perf_counter() - began, time.process_time() - busy
    if answer.coverage.gaps or not rows:
        raise SystemExit(f"rows are not whole: {answer.coverage.gaps}")
    return rows, *taken


def contest(fields: frozenset[str], processes: int, natives: Any, rounds: int = 7) -> tuple[float, float, float]:
    """Median wall and processor seconds of a sweep, and calls a row; after one that is not counted."""
    natives.set_count(processes)
    host = _Host()
    rows, *_ = sweep(host, fields)
    natives.take_calls()
    taken = [sweep(host, fields)[1:] for _ in range(rounds)]
    calls = natives.take_calls() / rounds / rows
    wall, busy = (statistics.median(column) for column in zip(*taken, strict=True))
    return wall, busy, calls


def report() -> None:
    """The scripted figures, each in a process of its own so that its memory is its own."""
    import resource

    with tempfile.TemporaryDirectory() as folder:
        natives = install(folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        listed = frozenset({"state", "session", "threads", "cpu", "memory"})
        for name, fields in (("basic fields", BASIC), ("fields of the list only", listed)):
            wall, _, calls = contest(fields, MANY, natives)
            speed = MANY / wall
            figure = f"{wall * 1e3:.0f} ms, {speed:,.0f}/s, {calls:.1f} calls a row"
            show(f"Windows, 10,000 processes, {name}", figure, ">= 20,000/s", speed >= 20_000)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        figure = f"{peak:.0f} MiB ({before:.0f} before)"
        show("Windows, 10,000 processes, peak memory", figure, "< 100 MB", peak * 1.048576 < 100)
        _, busy, _ = contest(BASIC, WATCHED, natives)
        show("Windows, 1,000 processes at 1 Hz, basic fields", f"{busy:.1%} of a core", "< 5 %", busy < 0.05)


# Live ---------------------------------------------------------------------------------------------------------------


@contextmanager
def children(count: int) -> Iterator[list[int]]:
    """Pids of that many waiting processes, which end with the block."""
    command = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    try:
        yield [child.pid for child in started]
    finally:
        for child in started:
            child.stdin.close() if child.stdin else None
        for child in started:
            child.wait()


def count_calls(host: Any, request: ProcessRequest) -> tuple[int, int]:
    """Rows of one sweep, and the calls of Windows' functions that it made."""
    made, bound = [0], {}
    for library in libraries():
        for name in library.signatures.keys() & vars(library).keys():
            bound[library, name] = function = vars(library)[name]
            vars(library)[name] = _counting(function, made)
    try:
        rows = sum(1 for _ in collector.collect(host, request))
    finally:
        for (library, name), function in bound.items():
            vars(library)[name] = function
    return rows, made[0]


def _counting(function: Any, made: list[int]) -> Any:
    def call(*arguments: Any) -> Any:
        made[0] += 1
        return function(*arguments)

    return call


def live(count: int) -> None:
    """One sweep's calls a row, and its time beside psutil's, in turn on the same children."""
    import psutil

    from hostscope.platforms.windows.host import open_host

    host = open_host()
    fields = frozenset({"argv", "threads", "cpu", "memory"})
    request = ProcessRequest(fields=fields)
    with children(count) as pids:
        ours, theirs = [], []
        for _ in range(4):
            began = time.perf_counter()
            rows = sum(1 for _ in collector.collect(host, request))
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            for pid in pids[:: max(count // SAMPLE, 1)][:SAMPLE]:
                psutil.Process(pid).as_dict(SAME)
            theirs.append(time.perf_counter() - began)
        counted, calls = count_calls(host, request)
        basic, more = count_calls(host, ProcessRequest(fields=BASIC))
    mine, psutils = statistics.median(ours[1:]), statistics.median(theirs[1:])
    figures = {
        "rows": rows,
        "seconds": mine,
        "psutil_seconds_of_sample": psutils,
        "ratio_a_row": psutils / min(SAMPLE, count) / (mine / rows),
        "calls_a_row": calls / counted,
        "calls_a_row_basic": more / basic,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["live"]:
        live(int(sys.argv[2]) if sys.argv[2:] else CHILDREN)
    else:
        report()
