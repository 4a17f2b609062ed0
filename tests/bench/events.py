"""``python -m tests.bench.events``: is anything lost at full speed, and what does watching cost at 1,000 events/s."""

import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from hostscope.model.event import EventRequest, Loss, ProcessExec
from hostscope.platforms import open_host
from hostscope.platforms.tally import Tally
from tests.bench.measure import compile_peer, show, stating_disturbance

HERE = Path(__file__).parent
PROCESSES, WORKERS = 40_000, 2
RATE, SECONDS = 333, 10
"""Processes a second (three events each), and for how long."""


def watched(*command: str) -> tuple[Counter[str], float, float]:
    """What was seen of a storm, our processor seconds, and its wall seconds."""
    stop, seen = threading.Event(), Counter[str]()
    events = open_host().events.watch(EventRequest(), stop, Tally())
    took: list[float] = []

    def storm() -> None:
        took.append(float(subprocess.run(command, check=True, capture_output=True).stdout))
        stop.set()

    began = time.process_time()
    runner = threading.Thread(target=storm)
    runner.start()
    for event in events:
        body = event.body
        seen[type(body).__name__] += 1
        if isinstance(body, ProcessExec):
            seen["argv"] += body.argv == ("tiny", "--arg=12345", "x")
        elif isinstance(body, Loss):
            seen["lost"] += body.events
    runner.join()
    return seen, time.process_time() - began, took[0]


def main() -> None:
    """Both figures."""
    with stating_disturbance(), tempfile.TemporaryDirectory() as folder:
        storm, tiny = compile_peer("exec_storm", folder), f"{folder}/tiny"
        subprocess.run(["cc", "-nostdlib", "-static", "-o", tiny, str(HERE / "tiny.S")], check=True)
        seen, cpu, wall = watched(storm, tiny, str(PROCESSES // WORKERS), str(WORKERS))
        whole = seen["lost"] == 0 and seen["argv"] == PROCESSES
        figure = f"{seen['lost']} lost, {seen['argv']:,} argv, {wall:.1f} s"
        show(f"{PROCESSES:,} fork+exec+exit on both cores", figure, "0 lost, all argv", whole)
        show("  processor time per event", f"{cpu / (3 * PROCESSES) * 1e6:.1f} us", "", None)
        _, cpu, wall = watched(storm, tiny, str(RATE * SECONDS), "1", str(RATE))
        show("1,000 events/s", f"{cpu / wall:.1%} of one core", "< 10 %", cpu / wall < 0.1)


if __name__ == "__main__":
    main()
