"""Captured packets and the processes behind them: those that end at once, refused connections, forked servers."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import pytest

from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.base_network import Sockets
from hostscope.platforms.linux.clock import read_boot
from hostscope.platforms.linux.traffic import Traffic
from hostscope.platforms.tally import Tally
from tests.system.commands import need
from tests.system.links import Pair, pair
from tests.system.test_capture import HOSTSCOPE, PATIENCE_S, Running, send, size, tshark, until

pytestmark = [pytest.mark.system, pytest.mark.root]

NAMED = re.compile(r"(\S+) = (?:one of \d+ sockets: )?(\S+)\[(\d+)\]")
SHORT = """
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(3): s.sendto(b"x" * 20, (sys.argv[1], int(sys.argv[2])))
print(os.getpid())"""
FORKING = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    child = os.fork()
    if not child:
        connection.recv(100)
        connection.sendall(str(os.getpid()).encode())
        os._exit(0)
    connection.close()
    os.waitpid(child, 0)"""


class Server(NamedTuple):
    child: subprocess.Popen[str]
    port: int


@contextmanager
def started(*command: str) -> Iterator[Server]:
    """A server that says its port when it listens."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    try:
        found = re.search(r"(?:port )?(\d+)", child.stdout.readline().rpartition("port")[2])
        assert found is not None
        yield Server(child, int(found[1]))
    finally:
        child.kill()
        child.communicate()


def web() -> AbstractContextManager[Server]:
    return started(sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1")


def short(address: str, port: int, *prefix: str) -> int:
    """The pid of a process that sends three datagrams, and has ended."""
    done = subprocess.run([*prefix, sys.executable, "-c", SHORT, address, str(port)], capture_output=True, check=True)
    return int(done.stdout)


def comments(path: Path, display: str = "") -> list[dict[int, str]]:
    """For each packet, its processes: pid -> name."""
    return [
        {int(pid): name for _, name, pid in NAMED.findall(row[0].replace("|", " ").replace(",", " "))} if row else {}
        for row in tshark(path, "frame.comment", display=display)
    ]


def settled(path: Path, running: Running, packets: int) -> None:
    """Waits until so many packets are written."""
    until(lambda: size(path) > 0 and len(tshark(path, "frame.number")) >= packets, running.child)


def test_every_packet_of_short_curls_names_both_sides(tmp_path: Path) -> None:
    curl, path = need("curl", "curl"), tmp_path / "a.pcapng"
    with web() as server:
        running = Running("--interface", "lo", "--bpf", f"tcp port {server.port}", "--output", str(path))
        clients = set()
        for _ in range(20):
            client = subprocess.Popen([curl, "-s", "-o", "/dev/null", f"http://127.0.0.1:{server.port}/"])
            assert client.wait(PATIENCE_S) == 0
            clients.add(client.pid)
        code, said = running.end()
        found = comments(path)
    assert code == 130
    assert len(found) > 200
    assert all(len(one) == 2 and server.child.pid in one for one in found)
    assert {pid for one in found for pid in one} - {server.child.pid} == clients
    assert "without a process" not in said and "one of two" not in said


def test_a_server_that_was_there_before_is_named_though_nobody_is_ever_served(tmp_path: Path) -> None:
    """A connection without payload: only the listing of sockets and the tracepoint of states know it."""
    path = tmp_path / "a.pcapng"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        running = Running("--interface", "lo", "--bpf", f"tcp port {port}", "--output", str(path))
        socket.create_connection(("127.0.0.1", port)).close()
        settled(path, running, 3)
        running.end()
    assert {tuple(one) for one in comments(path)} == {(os.getpid(),)}, "both ends are ours"
    assert all(row[0].count(f"[{os.getpid()}]") == 2 for row in tshark(path, "frame.comment"))


def test_refused_connections_name_who_tried_and_the_coverage_counts_the_other_end(tmp_path: Path) -> None:
    curl, path = need("curl", "curl"), tmp_path / "a.pcapng"
    with socket.create_server(("127.0.0.1", 0)) as was:
        port = was.getsockname()[1]
    options = ("--bpf", f"tcp port {port}", "--format", "json", "--output", str(path))
    running = Running("--interface", "lo", *options)
    clients = [subprocess.Popen([curl, "-s", f"http://127.0.0.1:{port}/"]) for _ in range(5)]
    assert [client.wait(PATIENCE_S) for client in clients] == [7] * 5
    _, said = running.end()
    found = comments(path)
    assert len(found) == 10
    assert {pid for one in found for pid in one} == {client.pid for client in clients}
    assert all(len(one) == 1 and "curl" in one.values() for one in found)
    document = json.loads(said)
    assert document["rows"][0]["named_packets"] == 10
    lacking = "packets with one of two processes of this host: 10 of 5 flows; the other: gone"
    assert lacking in document["coverage"]["notes"]


def test_datagrams_of_processes_that_live_for_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        running = Running("--interface", "lo", "--bpf", f"udp port {port}", "--output", str(path))
        pids = [short("127.0.0.1", port) for _ in range(5)]
        assert [ours.recv(100) for _ in range(15)]
        running.end()
    expected = [{pid, os.getpid()} for pid in pids for _ in range(3)]
    assert [set(one) for one in comments(path)] == expected


def test_the_child_that_serves_is_named_and_not_the_parent_that_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with started(sys.executable, "-c", FORKING) as server:
        running = Running("--interface", "lo", "--bpf", f"tcp port {server.port}", "--output", str(path))
        served = []
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"who are you?")
                served.append(int(client.recv(100)))
        running.end()
    found = [set(one) for one in comments(path, "tcp.len > 0")]
    assert found == [{pid, os.getpid()} for pid in served for _ in range(2)]


def test_both_sides_of_a_cable_between_namespaces(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with pair("ha", "10.213.14") as cable, far_receiver(cable) as receiver:
        running = Running("--interface", cable.near, "--bpf", f"udp port {receiver.port}", "--output", str(path))
        pids = [short(cable.far_address, receiver.port) for _ in range(3)]
        settled(path, running, 9)
        running.end()
    assert [set(one) for one in comments(path)] == [{pid, receiver.child.pid} for pid in pids for _ in range(3)]


@contextmanager
def far_receiver(cable: Pair) -> Iterator[Server]:
    """Takes datagrams at the far end, whatever comes."""
    script = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 0)); print(s.getsockname()[1], flush=True)
while True: s.recv(100)"""
    with started(*cable.beyond(sys.executable, "-c", script)) as server:
        yield server


def test_the_last_seconds_have_the_processes_of_sockets_that_closed_long_before_they_are_written(
    tmp_path: Path,
) -> None:
    options = ("--bpf", "udp dst port 1014", "--last", "60", "--output", str(tmp_path / "a.pcapng"))
    running = Running("--interface", "lo", *options)
    pid = short("127.0.0.1", 1014)
    send("127.0.0.1", 1014, 1)
    running.end()
    (path,) = tmp_path.iterdir()
    assert [set(one) for one in comments(path)] == [{pid}] * 3 + [{os.getpid()}]


def test_with_no_more_than_packets_it_says_what_it_misses_and_still_names_sockets_of_its_user(tmp_path: Path) -> None:
    setpriv, path = need("setpriv", "util-linux"), tmp_path / "a.pcapng"
    tmp_path.chmod(0o777)
    as_nobody: tuple[str, ...] = (setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups")
    script = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: s.recv(100)"""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    with started(*as_nobody, python, "-c", script) as server:
        as_nobody += ("--inh-caps", "+net_raw", "--ambient-caps", "+net_raw")
        options = ("--bpf", f"udp dst port {server.port}", "--output", path.name, "--count", "4")
        command = [*as_nobody, HOSTSCOPE, "capture", "--interface", "lo", *options]
        environment = {**os.environ, "HOSTSCOPE_AUDIT": "audit.jsonl"}
        child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as roots:
            try:
                until(lambda: size(path) > 0, child)
                roots.connect(("127.0.0.1", server.port))
                for _ in range(4):
                    roots.send(b"hello")
                _, said = child.communicate(timeout=PATIENCE_S)
            finally:
                child.kill()
                child.wait()
    assert child.returncode == 0
    assert "processes whose sockets close before they are listed are not known" in said
    assert "CAP_SYS_PTRACE" in said
    assert "4 of 1 flows; the other: denied" in said
    assert [set(one) for one in comments(path)] == [{server.child.pid}] * 4


def test_a_signal_while_packets_wait_for_their_processes_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    running = Running("--interface", "lo", "--bpf", "udp dst port 1015", "--output", str(path))
    pid = short("127.0.0.1", 1015)
    running.child.send_signal(signal.SIGTERM)
    running.child.communicate(timeout=PATIENCE_S)
    assert [set(one) for one in comments(path)] == [{pid}] * 3


def test_the_kernel_tells_of_connections_without_payload() -> None:
    with socket.create_server(("127.0.0.1", 0)) as was:
        refusing = was.getsockname()[1]
    request = TrafficRequest(method="accounting", names=False, connections=True)
    with Traffic(read_boot(), cast(Sockets, None)).open(request, Tally()) as meter:
        with socket.socket() as refused, pytest.raises(ConnectionRefusedError):
            refused.connect(("127.0.0.1", refusing))
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            with socket.create_connection(listener.getsockname()[:2]) as client:
                mine = client.getsockname()[1]
                accepted, _ = listener.accept()
                accepted.close()
            served = listener.getsockname()[1]
        first, second = meter.read().flows, meter.read().flows
    wanted = {("127.0.0.1", refusing): "outbound", ("::1", served): "outbound", ("::1", mine): "inbound"}
    found = {
        (flow.remote.address, flow.remote.port): flow
        for flow in first
        if flow.key and flow.key.pid == os.getpid() and flow.remote and not (flow.payload and flow.payload.total_bytes)
    }
    assert {ends: found[ends].direction for ends in wanted if ends in found} == wanted
    assert all(flow.local.port for flow in first if flow.protocol == "tcp")
    assert {id(flow) for flow in found.values()} <= {id(flow) for flow in second}, "what did not change is the same"
