"""What measuring traffic costs those who talk, beside nethogs and tcpdump, and how much of it is attributed.

``python -m tests.bench.traffic`` prints the report (as root, with cc; peers are left out where they are missing).
Cost is what one send and its receive take longer in a loop of one thread, which stays on one processor: contestants
take turns, the best of several counts for each.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter, sleep

from hostscope.collectors.traffic import watch
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms import open_host
from tests.bench.__main__ import HOSTSCOPE, compile_peer, show

ROUNDS = 20
LOOPS = (("TCP 512 B", ("20000", "t", "512")), ("UDP 200 B", ("30000", "u", "200")))
MOST_NS = {"TCP 512 B": 600, "UDP 200 B": 350}
PROCESSES, SOCKETS_EACH, LIVE_FLOWS = 500, 10, 100_000
_WARM_S = 1.0


@contextmanager
def ours(method: str, names: bool = False) -> Iterator[None]:
    """One of our meters, in this process."""
    with watch(open_host(), TrafficRequest(method=method, names=names)):
        yield


@contextmanager
def peer(*command: str) -> Iterator[None]:
    """Another program that watches the loopback interface."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        sleep(_WARM_S)
        try:
            yield
        finally:
            child.send_signal(signal.SIGINT)


def contestants() -> dict[str, Callable[[], AbstractContextManager[None]]]:
    """Who takes turns, each after a turn of nobody."""
    found: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "accounting": lambda: ours("accounting"),
        "accounting and names": lambda: ours("accounting", names=True),
        "wire": lambda: ours("wire"),
    }
    if nethogs := shutil.which("nethogs"):
        found["nethogs"] = lambda: peer(nethogs, "-a", "-t", "lo")
    if tcpdump := shutil.which("tcpdump"):
        found["tcpdump"] = lambda: peer(tcpdump, "-i", "lo", "-w", "/dev/null", "-s", "96", "-B", "65536")
    return found


def costs(loop: str) -> dict[str, dict[str, float]]:
    """Nanoseconds that each contestant adds to one pair of calls, by kind of traffic."""
    taken: dict[str, dict[str, list[float]]] = {kind: {} for kind, _ in LOOPS}
    turns = [turn for found in contestants().items() for turn in (("nobody", nullcontext), found)]
    for _ in range(ROUNDS):
        for name, begin in turns:
            with begin():
                for kind, arguments in LOOPS:
                    done = subprocess.run([loop, *arguments], check=True, stdout=subprocess.PIPE)
                    taken[kind].setdefault(name, []).append(float(done.stdout))
    return {
        kind: {name: min(times) - min(found["nobody"]) for name, times in found.items() if name != "nobody"}
        for kind, found in taken.items()
    }


def report_costs(loop: str) -> None:
    """What each contestant adds, and ours as a share of the peers'."""
    for kind, added in costs(loop).items():
        for name, ns in added.items():
            limit = MOST_NS[kind] if name == "accounting" else None
            least, good = (f"<= {limit / 1000} us", ns <= limit) if limit else ("", None)
            show(f"added to a send and its receive, {kind}, {name}", f"{ns / 1000:.2f} us", least, good)
        for name in ("nethogs", "tcpdump"):
            if name in added:
                share = added["accounting"] / added[name]
                show(f"accounting beside {name}, {kind}", f"{share:.2f} of its cost", "< 0.33", share < 1 / 3)


MIXED = """
import os, socket, time
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); receiver.bind(("127.0.0.1", 0))
until = time.monotonic() + {seconds}
moved = 0
while time.monotonic() < until:
    if os.fork() == 0:
        client = socket.create_connection(listener.getsockname())
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(20):
            client.sendall(b"x" * 4000); sender.sendto(b"u" * 400, receiver.getsockname())
        os._exit(0)
    server, _ = listener.accept()
    left = 80000
    while left:
        got = len(server.recv(left)); left -= got
    for _ in range(20):
        receiver.recv(1000)
    server.close(); os.wait(); moved += 88000
print(moved)
"""


def report_attribution(seconds: float = 3.0) -> None:
    """Short-lived processes with TCP and UDP: how much of what the interface counted has a process."""
    for method, most in (("accounting", None), ("wire", 0.01), ("capture", 0.01)):
        with watch(open_host(), TrafficRequest(method=method, names=False, interfaces=("lo",))) as watching:
            script = MIXED.format(seconds=seconds)
            done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
            look = watching.look()
        ledger, moved = look.ledger, int(done.stdout)
        if ledger is None:
            continue
        if most is None:
            sent = sum(row.payload.sent_bytes for row in look.processes if row.payload and row.key)
            show("payload attributed, processes of milliseconds", f"{sent / moved:.4f} of what was sent",
                 ">= 0.99", 0.99 <= sent / moved <= 1.01)  # fmt: skip
            continue
        attributed = sum(line.bytes for line in ledger.lines if line.reason == "attributed") / ledger.interface_bytes
        rest = abs(ledger.remainder_bytes) / ledger.interface_bytes
        good = attributed >= 0.99 if method == "wire" else None
        least = ">= 99 %" if method == "wire" else ""
        show(f"bytes attributed, processes of milliseconds, {method}", f"{attributed:.2%}", least, good)
        show(f"ledger, {method}", f"{rest:.3%} of {ledger.interface_bytes:,} bytes unexplained", "< 1 %", rest < most)


CROWD = """
import os, socket, sys, time
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); receiver.bind(("127.0.0.1", 0))
for _ in range({processes}):
    if os.fork() == 0:
        made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range({sockets})]
        for one in made: one.connect(receiver.getsockname())
        parent = os.getppid()
        while os.getppid() == parent:
            for one in made: one.send(b"x" * 100)
            time.sleep(0.5)
        os._exit(0)
print("ready", flush=True); sys.stdin.readline()
"""
MANY = """
import socket, struct, sys
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("0.0.0.0", 0)); port = receiver.getsockname()[1]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("ready", flush=True)
for line in sys.stdin:
    for number in range(int(line)):
        place = (socket.inet_ntoa(struct.pack(">I", (127 << 24) + (1 << 16) + number)), port)
        if {connect}:
            sender.connect(place); sender.send(b"x")
        else:
            sender.sendto(b"x", place)
        receiver.recv(10)
    print("done", flush=True)
"""


@contextmanager
def script(text: str) -> Iterator["subprocess.Popen[str]"]:
    """A Python child that has said that it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin and child.stdout and child.stdout.readline() == "ready\n"
        try:
            yield child
        finally:
            child.stdin.close()


LAUNCH = """
import json, os, resource, sys, subprocess
subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "wb"), check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A small process in between: what a child's memory peaks at begins with that of the process that forked it."""


def one_shot(*options: str, meanwhile: Callable[[], object] = lambda: None) -> tuple[float, float, int]:
    """Seconds that a whole command took, its peak memory in MiB, and how many connections it saw."""
    with tempfile.NamedTemporaryFile() as out:
        began = perf_counter()
        command = [HOSTSCOPE, "traffic", "--format", "json", *options]
        with subprocess.Popen(
            [sys.executable, "-S", "-c", LAUNCH, out.name, *command], stdout=subprocess.PIPE
        ) as child:
            meanwhile()
            assert child.stdout
            peak_kib = int(child.stdout.read())
        seconds = perf_counter() - began
        document = json.load(out)
    return seconds, peak_kib / 1024, document["coverage"]["seen"]


def report_one_shot() -> None:
    """A snapshot of a crowd, beyond the time that was asked for."""
    with script(CROWD.format(processes=PROCESSES, sockets=SOCKETS_EACH)):
        for method in ("accounting", "wire", "capture"):
            runs = [one_shot("--duration", "1", "--method", method) for _ in range(3)]
            beyond = statistics.median(run[0] for run in runs) - 1
            show(f"one shot, {PROCESSES} processes, {runs[-1][2]:,} connections, {method}",
                 f"{beyond:.2f} s beyond the duration, {runs[-1][1]:.0f} MiB", "< 2 s", beyond < 2)  # fmt: skip


def report_memory() -> None:
    """A hundred thousand connections that are all in the table: on loopback, packets are those of both ends."""
    for method in ("accounting", "wire", "capture"):
        connect = method == "accounting"  # without it a socket is one connection there
        with script(MANY.format(connect=connect)) as child:
            count = LIVE_FLOWS if connect else LIVE_FLOWS // 2

            def feed(child: "subprocess.Popen[str]" = child, count: int = count) -> None:
                assert child.stdin and child.stdout
                sleep(_WARM_S)
                child.stdin.write(f"{count}\n")
                child.stdin.flush()
                child.stdout.readline()

            _, peak, seen = one_shot("--duration", "12", "--method", method, meanwhile=feed)
        good = peak * 1.048576 < 200 and seen >= LIVE_FLOWS * 0.95
        show(f"peak memory, {seen:,} live flows, {method}", f"{peak:.0f} MiB", "< 200 MB", good)


def main() -> None:
    """The whole report."""
    if os.geteuid() != 0 or not shutil.which("cc"):
        print("traffic: needs root and cc")
        return
    with tempfile.TemporaryDirectory() as folder:
        report_costs(compile_peer("socket_loop", folder))
    report_attribution()
    report_one_shot()
    report_memory()


if __name__ == "__main__":
    main()
