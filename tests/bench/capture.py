"""Packets from the ring to flows and to files, beside tcpdump, on a cable between two network namespaces.

``python -m tests.bench.capture`` prints the report (as root, with cc and iproute2). On a machine of few processors
the generator and its soft interrupts share them with the reader: what a reader can do is measured on a ring that was
filled before, what it loses while packets come.
"""

import json
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from time import process_time
from typing import NamedTuple

from tests.bench.__main__ import HOSTSCOPE, compile_peer, show
from tests.system.links import Pair, pair

FLOWS, SECONDS, ROUNDS = 1024, 2.5, 3
SIZES = (64, 128)
STEADY = 250_000


class Lost(NamedTuple):
    """What became of the packets of one run."""

    sent: int
    rate: float
    lost: int
    cpu_us: float
    """Processor time for each packet, of user space and kernel, without starting up."""

    @property
    def ratio(self) -> float:
        return self.lost / self.sent


def reader(interface: str, filled: str) -> None:
    """Ring -> decode -> flow table, in an interpreter of its own; prints what it found when standard input says so."""
    from hostscope.model.capture import CaptureRequest
    from hostscope.platforms.linux.capture import Capture
    from hostscope.platforms.tally import Tally
    from hostscope.wire.decode import decode
    from hostscope.wire.flows import FlowTable

    stop, flows, packets = threading.Event(), FlowTable(), 0
    with Capture().open(CaptureRequest((interface,)), Tally()) as source:
        print("ready", flush=True)
        if filled == "filled":
            sys.stdin.readline()
        threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
        began = process_time()
        for batch in source.batches(stop):
            if len(batch):
                flows.update(batch, decode(batch))
                packets += len(batch)
        (counts,) = source.counts()
    spent = process_time() - began
    print(json.dumps({"packets": packets, "flows": len(flows), "dropped": counts.dropped, "cpu_s": spent}), flush=True)


def _blast(cable: Pair, blast: str, rate: int, size: int, seconds: float = SECONDS) -> tuple[int, float]:
    command = cable.beyond(blast, cable.far, str(seconds), str(FLOWS), str(rate), str(size))
    sent, took = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return int(sent), float(took)


def live(cable: Pair, blast: str, rate: int, size: int) -> Lost:
    """Flows of packets while they come."""
    child = _started("now", cable)
    sent, took = _blast(cable, blast, rate, size)
    out, _ = child.communicate("\n")
    found = json.loads(out)
    return Lost(sent, sent / took, found["dropped"], found["cpu_s"] / max(1, found["packets"]) * 1e6)


def filled(cable: Pair, blast: str, size: int) -> float:
    """Packets a second of processor time from a ring that is as full as the generator makes it."""
    child = _started("filled", cable)
    _blast(cable, blast, 0, size, 0.4)
    out, _ = child.communicate("\n\n")
    found = json.loads(out)
    assert found["flows"] >= FLOWS
    return float(found["packets"] / found["cpu_s"])


def _started(mode: str, cable: Pair) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.bench.capture", cable.near, mode]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def start_up(cable: Pair, folder: str) -> float:
    """Processor seconds of the command that gets no packets."""
    path = f"{folder}/none.pcapng"
    options = ["--interface", cable.near, "--bpf", "ether proto 0x9999", "--output", path, "--quiet"]
    child = subprocess.Popen([HOSTSCOPE, "capture", *options], stdout=subprocess.PIPE, text=True)
    _until_written(path)
    child.send_signal(signal.SIGINT)
    return _ended(child)[1]


def written(cable: Pair, blast: str, rate: int, size: int, folder: str, *options: str) -> Lost:
    """The whole command, packets in a file; its start-up is left out of the time."""
    before_s = start_up(cable, folder)
    path = f"{folder}/ours.pcapng"
    command = [HOSTSCOPE, "capture", "--interface", cable.near, "--output", path, "--format", "json", *options]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    _until_written(path)
    sent, took = _blast(cable, blast, rate, size)
    child.send_signal(signal.SIGINT)
    out, usage = _ended(child)
    os.unlink(path)
    (counts,) = json.loads(out)["rows"][0]["counts"]
    return Lost(sent, sent / took, counts["dropped"], (usage - before_s) / sent * 1e6)


def tcpdump(cable: Pair, blast: str, rate: int, size: int, folder: str) -> Lost:
    """The peer, with the same ring."""
    path = f"{folder}/theirs.pcap"
    command = ["tcpdump", "-i", cable.near, "-n", "-B", "65536", "-Z", "root", "-w", path]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    child.stderr.readline()
    sent, took = _blast(cable, blast, rate, size)
    select.select([], [], [], 1.1)  # it takes a second to be handed the last block
    child.send_signal(signal.SIGINT)
    out, usage = _ended(child)
    os.unlink(path)
    dropped = re.search(r"(\d+) packets? dropped by kernel", out)
    return Lost(sent, sent / took, int(dropped[1]) if dropped else -1, usage / sent * 1e6)


def _ended(child: "subprocess.Popen[str]") -> tuple[str, float]:
    """What it printed, and its processor time."""
    stream = child.stdout or child.stderr
    assert stream is not None
    out = stream.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    stream.close()
    return out, usage.ru_utime + usage.ru_stime


def _until_written(path: str) -> None:
    while not os.path.exists(path) or not os.path.getsize(path):
        select.select([], [], [], 0.01)


def report(cable: Pair, blast: str, folder: str) -> None:
    """All rows; contestants take turns, medians of rounds."""
    for size in SIZES:
        rate = statistics.median(filled(cable, blast, size) for _ in range(ROUNDS))
        show(f"ring to flows, {size}-byte packets", f"{rate:,.0f} packets/s per core", ">= 1,000,000/s", rate >= 1e6)
    for rate, what in ((0, "as fast as they come"), (STEADY, f"{STEADY:,}/s")):
        for size in SIZES:
            runs = [live(cable, blast, rate, size) for _ in range(ROUNDS)]
            _row(f"ring to flows, {what}, {size} bytes", runs, steady=rate > 0)
        ours, named, theirs = [], [], []
        for _ in range(ROUNDS):
            ours.append(written(cable, blast, rate, SIZES[1], folder, "--no-processes"))
            named.append(written(cable, blast, rate, SIZES[1], folder))
            theirs.append(tcpdump(cable, blast, rate, SIZES[1], folder))
        _row(f"capture --no-processes, {what}", ours, steady=rate > 0)
        _row(f"capture, {what}", named, steady=rate > 0)
        _row(f"tcpdump -w, {what}", theirs, steady=False)


def _row(work: str, runs: list[Lost], steady: bool) -> None:
    one = sorted(runs, key=lambda run: run.ratio)[len(runs) // 2]
    figure = f"{one.rate:,.0f}/s, {one.ratio:.2%} lost, {one.cpu_us:.2f} us"
    sent = one.rate >= 0.9 * STEADY  # else the generator had no processor, and nothing is proved
    show(work, figure, "< 1 % lost" if steady else "", one.ratio < 0.01 if steady and sent else None)


def main() -> None:
    """The report, or one reader of it."""
    if len(sys.argv) == 3:
        reader(*sys.argv[1:])
        return
    if os.geteuid() != 0 or not shutil.which("cc") or not shutil.which("ip"):
        print("capture: needs root, cc and iproute2")
        return
    with tempfile.TemporaryDirectory() as folder, pair("bc", "10.213.11") as cable:
        report(cable, compile_peer("blast", folder), folder)


if __name__ == "__main__":
    main()
