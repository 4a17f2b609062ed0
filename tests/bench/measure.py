"""What benchmarks of all areas share: compiling peers, timing whole commands, and the lines of the report."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
HOSTSCOPE = shutil.which("hostscope", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "hostscope"


def compile_peer(name: str, folder: str) -> str:
    """The path of a C program of this folder, compiled with -O2."""
    target = f"{folder}/{name}"
    subprocess.run(["cc", "-O2", "-pthread", "-o", target, str(HERE / f"{name}.c")], check=True)
    return target


def one_shot(command: list[str], repeats: int = 7) -> tuple[float, float]:
    """Median wall seconds of whole processes after one uncounted run, and the largest peak memory in MiB."""
    times, peaks = [], []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        while child.stdout.read(1 << 16):
            pass
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stdout.close()
        if child.returncode:
            raise SystemExit(f"{command} ended with {child.returncode}")
        times.append(time.perf_counter() - began)
        peaks.append(usage.ru_maxrss / 1024)
    return statistics.median(times[1:]), max(peaks)


def show(work: str, figure: str, least: str, good: bool | None) -> None:
    """One line of the report."""
    verdict = {True: "ok", False: "MISSED", None: ""}[good]
    print(f"{work:<52} {figure:<34} {least:<22} {verdict}", flush=True)


def damon_seconds() -> float:
    """Processor time so far of the kernel's memory monitors (kdamond), which slow every page walk on some machines."""
    ticks = 0
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        except OSError:  # ended
            continue
        if "(kdamond." in name:
            ticks += sum(map(int, rest.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def stating_disturbance() -> Iterator[None]:
    """Says what else the machine did while the block ran."""
    began, before, load = time.perf_counter(), damon_seconds(), os.getloadavg()[0]
    yield
    share = (damon_seconds() - before) / (time.perf_counter() - began)
    print(f"\nload before the run {load:.2f}; kdamond took {share:.0%} of one CPU during it")
