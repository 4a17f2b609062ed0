"""macOS' whole collector on the scripted libSystem: its answers cost next to nothing, so this is what we cost."""

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.measure import show, stating_disturbance

MANY, WATCHED = 10_000, 1_000
ROUNDS = 3
SWEEPS = 5
KINDS = ("basic", "full", "cpu", "table")


def populate(count: int) -> None:
    """A Mac with so many processes: a few dozen programs, arguments of their own, a third signed by Apple."""
    from tests.macos.fake.build import library
    from tests.macos.scripted import PLATFORM, RUNTIME, VALID, Darwin, install

    path = library()
    darwin = Darwin(path)
    darwin.reset()
    install(path)
    for number in range(count):
        program = b"/Applications/App%d/App%d" % (number % 40, number % 40)
        flags = VALID | (PLATFORM if number % 3 == 0 else RUNTIME)
        darwin.add(
            number + 1, [program, b"--worker", b"%d" % number], [b"HOME=/Users/ann", b"LANG=en"],
            uid=501 + number % 3, path=program, comm=program.rpartition(b"/")[2], csflags=flags,
            identity=b"com.example.app%d" % (number % 40), team=b"ABCDE12345", start_usec=number,
        )  # fmt: skip
    globals()["_kept"] = darwin


def measure(kind: str, count: int, sweeps: int) -> dict[str, float]:
    """Median seconds of sweeps through the collector, rows, processor seconds of one, and the peak of memory
    without what the scripted system takes itself."""
    from hostscope.collectors import processes
    from hostscope.model.request import BASIC, FULL, ProcessRequest
    from hostscope.platforms.macos.host import open_host

    before = _peak_mib()
    populate(count)
    scripted = _peak_mib() - before
    fields = {"basic": BASIC, "full": FULL - {"cgroup"}, "cpu": frozenset({"cpu"}), "table": BASIC}[kind]
    request = ProcessRequest(fields=fields, method="sysctl" if kind == "table" else None)
    host, times, busy, rows = open_host(), [], [], 0
    for _ in range(sweeps + 1):
        gc.collect()
        began, used = time.perf_counter(), time.process_time()
        answer = processes.collect(host, request)
        kept = list(answer)
        times.append(time.perf_counter() - began)
        busy.append(time.process_time() - used)
        rows = len(kept)
        del kept
    return {
        "seconds": statistics.median(times[1:]), "busy": statistics.median(busy[1:]), "rows": rows,
        "peak_mib": _peak_mib() - scripted, "scripted_mib": scripted,
    }  # fmt: skip


def _peak_mib() -> float:
    """Of this program: what ru_maxrss says counts who started it, too."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def contest(kind: str, count: int, sweeps: int = SWEEPS) -> dict[str, float]:
    """The same in a fresh interpreter."""
    command = [sys.executable, "-m", "tests.bench.macos", kind, str(count), str(sweeps)]
    with tempfile.TemporaryDirectory() as folder:
        environ = os.environ | {"HOSTSCOPE_AUDIT": f"{folder}/audit.jsonl"}
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environ)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def report() -> None:
    """The whole report."""
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; scripted libSystem")
    with stating_disturbance():
        taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for _ in range(ROUNDS):
            for kind in KINDS:
                taken[kind].append(contest(kind, MANY))
        for kind, found in taken.items():
            middle = sorted(found, key=lambda one: one["seconds"])[ROUNDS // 2]
            rate = middle["rows"] / middle["seconds"]
            least = 20_000 if kind == "basic" else 1_000
            show(f"macOS, {MANY:,} processes, {kind}", f"{rate:,.0f} processes/s", f">= {least:,}/s", rate >= least)
            show(f"macOS, {MANY:,} processes, {kind}", f"{middle['seconds']:.2f} s", "< 5 s", middle["seconds"] < 5)
            peak = middle["peak_mib"] * 1.048576
            show(f"macOS, {MANY:,} processes, {kind}, peak memory", f"{peak:.0f} MB", "< 100 MB", peak < 100)
        share = contest("basic", WATCHED, 10)["busy"]
        show(f"macOS, {WATCHED:,} processes at 1 Hz", f"{share:.1%} of a core", "< 5 %", share < 0.05)


if __name__ == "__main__" and len(sys.argv) == 1:
    report()
elif __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
