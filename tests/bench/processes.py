"""``hostscope ps`` beside its peers on the same processes in one run."""

import compileall
import json
import os
import platform
import pty
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hostscope
from hostscope.model.request import BASIC, FULL
from tests.bench.measure import HOSTSCOPE, compile_peer, one_shot, show, stating_disturbance
from tests.bench.peers import COMMON, PS_COLUMNS

SWEEPS = {"columns": 15, "iterator_full": 9, "iterator_basic": 9}
"""In each round, the median counts; three of those that take longer."""
MANY = 10_000
COLUMNS = "pid,ppid,user,state,rss,vsz,threads,cpu,command"
PS_SAME = "pid,ppid,user,state,rss,vsz,nlwp,time,args"


@contextmanager
def sleeping(program: str, count: int) -> Iterator[None]:
    """`count` more sleeping processes while the block runs."""
    child = subprocess.Popen([program, str(count), "00000000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    ready = child.stdout.readline()
    if ready != f"READY {count}\n".encode():
        raise SystemExit(f"could not start {count} processes: {ready!r} (see ulimit -u)")
    try:
        yield
    finally:
        child.communicate()


def contest(name: str, repeats: int = 7) -> dict[str, float]:
    """One contestant in a fresh interpreter."""
    command = [sys.executable, "-m", "tests.bench.peers", name, str(repeats)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def watching(seconds: int) -> float:
    """Share of one core that `ps --watch --interval 1` takes on a terminal of 40 lines, start-up left out."""
    short, long = (_watch_cpu(span) for span in (2, 2 + seconds))
    return (long - short) / seconds


def _watch_cpu(seconds: int) -> float:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"LINES": "40", "COLUMNS": "120", "TERM": "xterm"}
        os.execv(HOSTSCOPE, [HOSTSCOPE, "ps", "--watch", "--interval", "1", "--duration", str(seconds)])
    reader = threading.Thread(target=_drain, args=(terminal,))
    reader.start()
    _, _, usage = os.wait4(pid, 0)
    reader.join()
    os.close(terminal)
    return usage.ru_utime + usage.ru_stime


def _drain(terminal: int) -> None:
    while True:
        try:
            if not os.read(terminal, 1 << 16):
                return
        except OSError:  # a terminal whose other side is closed gives EIO
            return


def in_turn(reader: str, rounds: int = 3) -> dict[str, dict[str, float]]:
    """All contestants in turn, several times, so that a slow moment of the machine meets each; medians of rounds."""
    taken: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name in ("columns", "iterator_full", "iterator_basic", "proc_basic", "psutil", "psutil_kept", "ps"):
            taken.setdefault(name, []).append(contest(name, SWEEPS.get(name, 3)))
        microseconds = int(subprocess.run([reader, "3"], check=True, stdout=subprocess.PIPE).stdout.split()[0])
        taken.setdefault("c", []).append({"seconds": microseconds / 1e6})
    return {name: sorted(found, key=lambda one: one["seconds"])[rounds // 2] for name, found in taken.items()}


def report_sweeps(reader: str) -> None:
    """Rates of sweeps at ten thousand processes."""
    found_of = in_turn(reader)
    columns, full, basic, proc = (
        found_of[name] for name in ("columns", "iterator_full", "iterator_basic", "proc_basic")
    )
    psutil, ps, c_seconds = found_of["psutil"], found_of["ps"], found_of["c"]["seconds"]
    kept = found_of["psutil_kept"]
    proc_full = contest("proc_full", 3)
    for work, found, least in (
        ("iterator, columnar, argv and exe, program loaded", columns, 250_000),
        ("iterator, full records, program loaded", full, 100_000),
    ):
        rate = found["rows"] / found["seconds"]
        show(work, f"{rate:,.0f} processes/s", f">= {least:,}/s", rate >= least)
    for work, found, peer, name, least in (
        ("iterator, fields in common", basic, psutil, "psutil", 12.0),
        ("iterator, fields in common", basic, ps, "ps", 5.0),
        ("/proc, fields in common", proc, psutil, "psutil", 2.5),
        ("iterator, psutil keeping start times", basic, kept, "psutil", None),
        ("/proc, psutil keeping start times", proc, kept, "psutil", None),
    ):
        ratio = peer["seconds"] / found["seconds"]
        show(work, f"{ratio:.2f} x {name} ({found['seconds'] * 1e3:.0f} / {peer['seconds'] * 1e3:.0f} ms)",
             f">= {least} x" if least else "", ratio >= least if least else None)  # fmt: skip
    ratio = c_seconds / proc["seconds"]
    show(
        "/proc, the same files as a C program", f"{ratio:.2f} x C ({c_seconds * 1e3:.0f} ms)", ">= 0.6 x", ratio >= 0.6
    )
    show("/proc, full records", f"{proc_full['rows'] / proc_full['seconds']:,.0f} processes/s", "", None)
    show("peak memory, full records kept", f"{full['peak_mib']:.0f} MiB", "< 100 MB", full["peak_mib"] * 1.048576 < 100)


def report_one_shot() -> None:
    """Whole commands at ten thousand processes."""
    ours, peak = one_shot([HOSTSCOPE, "ps", "--columns", COLUMNS])
    theirs, _ = one_shot(["ps", "-eo", PS_SAME])
    show(
        "one-shot ps, 10,000 processes",
        f"{ours * 1e3:.0f} ms, ps {theirs * 1e3:.0f} ms",
        "faster than ps",
        ours < theirs,
    )
    show("one-shot ps, 10,000 processes, peak memory", f"{peak:.0f} MiB", "< 60 MB", peak * 1.048576 < 60)


def report_small() -> None:
    """Whole commands on this host as it is."""
    ours, peak = one_shot([HOSTSCOPE, "ps", "--columns", COLUMNS])
    theirs, _ = one_shot(["ps", "-eo", PS_SAME])
    gap_ms, rows = (ours - theirs) * 1e3, len([name for name in os.listdir("/proc") if name.isdecimal()])
    show(f"one-shot ps, {rows} processes", f"{ours * 1e3:.0f} ms, ps {theirs * 1e3:.0f} ms, {peak:.0f} MiB",
         "within 150 ms of ps", gap_ms <= 150)  # fmt: skip
    show(f"one-shot ps, {rows} processes", f"{ours * 1e3:.0f} ms", "< 200 ms", ours < 0.2)
    help_s, _ = one_shot([HOSTSCOPE, "--help"])
    show("hostscope --help", f"{help_s * 1e3:.0f} ms", "< 100 ms", help_s < 0.1)


def report() -> None:
    """The whole report."""
    machine = f"Linux {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(f"{machine}; medians of sweeps, then of rounds")
    # As pip leaves an installed package, whatever PYTHONDONTWRITEBYTECODE says here.
    compileall.compile_dir(str(Path(hostscope.__file__).parent), quiet=1)
    print(f"full fields: {', '.join(sorted(FULL))}")
    print(f"in common: {', '.join(sorted(BASIC))}\n  psutil: {', '.join(COMMON)}\n  ps -o {PS_COLUMNS}")
    print("The sleepers are copies of one program: records that are equal in parts share them, as workers' do.\n")
    with stating_disturbance(), tempfile.TemporaryDirectory() as folder:
        sleepers, reader = compile_peer("sleepers", folder), compile_peer("proc_reader", folder)
        report_small()
        with sleeping(sleepers, 1000):
            share = watching(10)
            show("ps --watch at 1 Hz, 1,000 processes", f"{share:.1%} of a core", "< 5 %", share < 0.05)
        with sleeping(sleepers, MANY):
            report_sweeps(reader)
            report_one_shot()


if __name__ == "__main__":
    report()
