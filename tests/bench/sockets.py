"""Socket -> process for 20,000 sockets, beside ss and psutil in one run: ``python -m tests.bench.sockets``.

With a contestant name it prints, as JSON, the seconds of one look at whatever the host has. Connections are reset when
they end, so that no time-wait entries of one run are in the tables of the next.
"""

import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAIRS, CONNECTIONS = 10, 1000
"""So many servers with a client each, and so many connections between them: 20,010 sockets in 20 processes."""
RESET = struct.pack("ii", 1, 0)
"""struct linger: close at once, with RST."""
ROUNDS = 5


@contextmanager
def connected(pairs: int = PAIRS, connections: int = CONNECTIONS) -> Iterator[list[int]]:
    """Connections between children on loopback while the block runs; yields the servers' ports."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    children = [_start("server", str(connections)) for _ in range(pairs)]
    try:
        ports = [int(_line(child)) for child in children]
        children += [_start("client", str(connections), str(port)) for port in ports]
        for child in children:
            assert _line(child) == "READY"
        yield ports
    finally:
        for child in reversed(children):
            child.communicate()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.bench.sockets", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def serve(connections: int) -> None:
    """A child that accepts."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    _say(str(listener.getsockname()[1]))
    _keep([listener.accept()[0] for _ in range(connections)])


def call(connections: int, port: int) -> None:
    """A child that connects."""
    _keep([socket.create_connection(("127.0.0.1", port)) for _ in range(connections)])


def _keep(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    _say("READY")
    sys.stdin.read()


def _say(text: str) -> None:
    print(text, flush=True)


def hostscope_sweep(method: str) -> Callable[[], int]:
    """All records, kept until the sweep ends, through the collector as commands do."""
    from hostscope.collectors import sockets
    from hostscope.model.socket import SocketRequest
    from hostscope.platforms import open_host

    host = open_host()
    return lambda: len(sockets.collect(host, SocketRequest(method=method)).rows())


def psutil_sweep() -> Callable[[], int]:
    """psutil's list of connections, whose owners it looks up too."""
    import psutil

    return lambda: len(psutil.net_connections("inet"))


def ss_sweep() -> Callable[[], int]:
    """The command with its processes; its output is read and thrown away. Includes its start, about 2 ms."""
    return lambda: subprocess.run(["ss", "-tunap"], check=True, stdout=subprocess.PIPE).stdout.count(b"\n") - 1


CONTESTANTS: dict[str, Callable[[], Callable[[], int]]] = {
    "iterator": lambda: hostscope_sweep("iterator"),
    "ss": ss_sweep,
    "psutil": psutil_sweep,
    "diag": lambda: hostscope_sweep("diag"),
    "proc": lambda: hostscope_sweep("proc"),
}


def measure(name: str, repeats: int) -> dict[str, float]:
    """Median seconds of one look after one uncounted, of the clock and of processor time."""
    sweep, walls, cpus, rows = CONTESTANTS[name](), [], [], 0
    sweep()
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), _cpu()
        rows = sweep()
        walls.append(time.perf_counter() - wall)
        cpus.append(_cpu() - cpu)
    return {"seconds": statistics.median(walls), "cpu_seconds": statistics.median(cpus), "rows": rows}


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def contest(name: str, repeats: int) -> dict[str, float]:
    """One contestant in a fresh interpreter."""
    command = [sys.executable, "-m", "tests.bench.sockets", name, str(repeats)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def report_sockets() -> None:
    """The figure, by the clock; all contestants in turn, several times."""
    from tests.bench.__main__ import show

    taken: dict[str, list[dict[str, float]]] = {}
    with connected():
        for _ in range(ROUNDS):
            for name in CONTESTANTS:
                taken.setdefault(name, []).append(contest(name, 5))
    found = {name: statistics.median(one["seconds"] for one in many) for name, many in taken.items()}
    rows = int(taken["iterator"][0]["rows"])
    for name, least in (("ss", 4.0), ("psutil", 6.0)):
        ratio = found[name] / found["iterator"]
        label = "ss -tunap" if name == "ss" else "psutil"
        figure = f"{ratio:.2f} x {label} ({found['iterator'] * 1e3:.0f} / {found[name] * 1e3:.0f} ms)"
        show(f"socket -> process, {rows:,} sockets, to records", figure, f">= {least:g} x", ratio >= least)
    for name in ("diag", "proc"):
        figure = f"{found[name] * 1e3:.0f} ms, {found['ss'] / found[name]:.2f} x ss"
        show(f"socket -> process, {rows:,} sockets, method {name}", figure, "", None)


def main() -> None:
    """The report, or what the arguments name."""
    match sys.argv[1:]:
        case []:
            os.environ.setdefault("HOSTSCOPE_AUDIT", os.devnull)
            report_sockets()
        case ["server", connections]:
            serve(int(connections))
        case ["client", connections, port]:
            call(int(connections), int(port))
        case [name, repeats]:
            print(json.dumps(measure(name, int(repeats))))


if __name__ == "__main__":
    main()
