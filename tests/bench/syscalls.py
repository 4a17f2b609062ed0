"""``python -m tests.bench.syscalls``: how much slower a busy loop of mmap, mprotect and munmap is while it is traced.

Contestants take turns. Wall time is what people feel; processor time of the loop is what does not depend on how busy
the machine is with other things, the tracer among them.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hostscope.model.request import ProcessRequest
from hostscope.model.syscall import TraceRequest
from hostscope.platforms import open_host
from hostscope.platforms.tally import Tally
from tests.bench.measure import HOSTSCOPE, compile_peer, show, stating_disturbance

FAST, SLOW, ROUNDS = 100_000, 3_000, 5
HOST = open_host()
Timing = tuple[float, float]
"""Wall and processor seconds of the loop."""


@contextmanager
def loop(*command: str) -> Iterator["subprocess.Popen[str]"]:
    """A loop that waits to begin."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as child:  # type: ignore[call-overload]
        assert child.stdout
        child.stdout.readline()
        yield child


def timed(child: "subprocess.Popen[str]") -> Timing:
    """Starts the loop and waits for its end."""
    assert child.stdin and child.stdout
    child.stdin.write("\n")
    child.stdin.flush()
    wall, cpu = child.stdout.readline().split()
    return float(wall), float(cpu)


def in_kernel(program: str, durations: bool, lost: list[int]) -> Timing:
    """Traced by eBPF."""
    stop, tally = threading.Event(), Tally()
    with loop(program, str(FAST)) as child:
        key = HOST.processes.read(child.pid, ProcessRequest()).key
        events = HOST.syscalls.watch(TraceRequest((key,), durations=durations), stop, tally)
        reader = threading.Thread(target=lambda: [None for _ in events])
        reader.start()
        found = timed(child)
    reader.join()
    lost.append(tally.lost)
    return found


def alone(*command: str) -> Timing:
    """Not traced by us: alone, or under a tracer that starts it."""
    with loop(*command) as child:
        return timed(child)


def report_kernel(program: str) -> None:
    """The loop traced in the kernel, without and with durations."""
    lost: list[int] = []
    rounds = [
        (alone(program, str(FAST)), in_kernel(program, False, lost), in_kernel(program, True, lost))
        for _ in range(ROUNDS)
    ]
    for place, name, most in ((1, "traced by eBPF", 1.3), (2, "traced by eBPF, with durations", 1.5)):
        wall, cpu = (statistics.median(one[place][which] / one[0][which] for one in rounds) for which in (0, 1))
        show(
            f"mmap/mprotect/munmap, {name}",
            f"{wall:.2f} x, its processor time {cpu:.2f} x",
            f"<= {most} x",
            wall <= most,
        )
    show("  lost", f"{sum(lost):,} of {6 * FAST * ROUNDS:,}", "counted", None)


def report_ptrace(program: str, folder: str) -> None:
    """The loop under strace and under our ptrace."""
    filters = ("-e", "trace=mprotect,mmap,munmap")
    strace = ("strace", "-o", f"{folder}/strace", *filters, program, str(SLOW))
    ours = (HOSTSCOPE, "trace", "--quiet", "--method", "ptrace", "--output", f"{folder}/ours", "--", program, str(SLOW))
    rounds = [tuple(alone(*command)[0] for command in ((program, str(SLOW)), strace, ours)) for _ in range(ROUNDS)]
    slower, ratio = (statistics.median(one[a] / one[b] for one in rounds) for a, b in ((1, 0), (2, 1)))
    show("  strace", f"{slower:.1f} x", "", None)
    show("traced by ptrace", f"{ratio:.2f} x strace's time", "<= 1.5 x", ratio <= 1.5)


def main() -> None:
    """All figures."""
    with stating_disturbance(), tempfile.TemporaryDirectory() as folder:
        program = compile_peer("mapping_loop", folder)
        report_kernel(program)
        if shutil.which("strace"):
            report_ptrace(program, folder)
        else:
            print("strace is not installed", file=sys.stderr)


if __name__ == "__main__":
    main()
