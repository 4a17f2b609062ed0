"""Real servers in a network namespace of the test, and what `hostscope dns` says of those who ask them."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import pytest

from tests.system.commands import need
from tests.system.test_services import stream

pytestmark = [pytest.mark.system, pytest.mark.root]

ROOT = Path(__file__).parents[2]
STUB, UPSTREAM, SLOW, SILENT, FAILING = "127.0.0.53", "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"
TIMEOUT_S = "3"
"""So late on a busy machine that who answers has answered."""
DELAY_S = 0.15
PATIENCE_S = 60.0
DNSMASQ = ("--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces",
           "--user=root", "--pid-file=", "--cache-size=0")  # fmt: skip

Row = dict[str, Any]


class Zone:
    """A network namespace with servers in it."""

    def __init__(self) -> None:
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"]
        self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert stream(self.holder.stdout).readline() == "ready\n"
        self.children: list[subprocess.Popen[str]] = []
        self.waited_ns: dict[str, int] = {}
        """How long who asked for a name last was waiting."""

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """A program in the namespace."""
        inside = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]
        child = subprocess.Popen(inside, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)
        self.children.append(child)
        return child

    def serve(self, *arguments: str) -> None:
        """A server of ours."""
        child = self.start(sys.executable, str(ROOT / "tests/system/dns_server.py"), *arguments)
        assert stream(child.stdout).readline() == "ready\n"

    def ask(self, server: str, name: str, kind: str = "A", transport: str = "udp", **more: str) -> int:
        """One question of a process that has ended when this returns; its pid."""
        client = str(ROOT / "tests/system/dns_client.py")
        given = [server, name, kind, transport, more.get("seconds", "60"), more.get("times", "1")]
        child = self.start(sys.executable, client, *given)
        pid, waited_ns = (int(line) for line in stream(child.stdout))
        assert child.wait(PATIENCE_S) == 0
        self.waited_ns[name] = waited_ns
        return pid

    def until_it_answers(self, server: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        client = [sys.executable, "-c", _PROBE.format(server=server)]
        while self.start(*client, stderr=subprocess.DEVNULL).wait(timeout=PATIENCE_S) != 0:
            assert time.monotonic() < deadline, f"{server} does not answer"

    def end(self) -> None:
        for child in self.children:
            child.kill()
            child.wait(timeout=PATIENCE_S)
            for pipe in filter(None, (child.stdout, child.stderr)):
                pipe.close()
        self.holder.communicate(timeout=PATIENCE_S)


_PROBE = """if True:
    import dns.message, dns.query
    dns.query.udp(dns.message.make_query("fast.example", "A"), "{server}", timeout=1)
"""
QUESTION = dns.message.make_query("again.example", "A", id=7).to_wire()


@pytest.fixture(scope="module")
def zone() -> Iterator[Zone]:
    if os.geteuid() != 0:
        pytest.skip("making a network namespace needs root")
    dnsmasq = need("dnsmasq", "dnsmasq-base")
    need("ip", "iproute2")
    made = Zone()
    names = ("--address=/fast.example/192.0.2.80", "--address=/fast.example/2001:db8::80", "--address=/nx.example/",
             "--cname=alias.example,fast.example", "--local-ttl=77")  # fmt: skip
    made.start(dnsmasq, *DNSMASQ, f"--listen-address={UPSTREAM}", *names)
    made.start(dnsmasq, *DNSMASQ, f"--listen-address={STUB}", f"--server={UPSTREAM}")
    made.serve("delay", SLOW, UPSTREAM, str(DELAY_S))
    made.serve("silent", SILENT)
    made.serve("fail", FAILING, "SERVFAIL")
    for server in (UPSTREAM, STUB):
        made.until_it_answers(server)
    yield made
    made.end()


Watch = Callable[..., "Watched"]


class Watched:
    """`hostscope dns` while it watches."""

    def __init__(self, zone: Zone, tmp_path: Path, *options: str) -> None:
        self.zone = zone
        command = [sys.executable, "-m", "hostscope", "dns", "--watch", "--format", "ndjson", "--timeout", TIMEOUT_S]
        environment = {**os.environ, "HOSTSCOPE_AUDIT": str(tmp_path / "audit.jsonl"), "PYTHONPATH": str(ROOT / "src")}
        self.child = zone.start(*command, *options, env=environment, stderr=subprocess.PIPE)
        self.lines: list[Row] = []
        self.begun = b""
        """Of a line whose end is still to come."""
        self.until("marker.example", lambda: zone.ask(UPSTREAM, "marker.example", seconds="1"))

    def until(self, name: str, ask: Callable[[], object] | None = None) -> None:
        """Reads rows until one is for `name`, asking again until it is seen."""
        deadline = time.monotonic() + PATIENCE_S
        while not any(line.get("row", {}).get("name") == name for line in self.lines):
            assert time.monotonic() < deadline and self.child.poll() is None
            if ask:
                ask()
            self.read(0.5)

    def read(self, seconds: float) -> None:
        """What comes until nothing comes for so long."""
        pipe = stream(self.child.stdout).fileno()
        while select.select([pipe], [], [], seconds)[0]:
            text = os.read(pipe, 1 << 16)
            if not text:
                return
            self.take(text)

    def take(self, text: bytes) -> None:
        *whole, self.begun = (self.begun + text).split(b"\n")
        self.lines += map(json.loads, whole)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Interrupts it; its exit code."""
        self.child.send_signal(number)
        rest, self.errors = self.child.communicate(timeout=PATIENCE_S)
        self.take(rest.encode())
        return self.child.returncode

    def rows(self, name: str) -> list[Row]:
        return [line["row"] for line in self.lines if line["type"] == "row" and line["row"].get("name") == name]

    def row(self, name: str, server: str) -> Row:
        """The row of what that server was asked."""
        (found,) = (row for row in self.rows(name) if row["server"]["address"] == server)
        return found

    @property
    def scores(self) -> dict[str, Row]:
        return {line["row"]["server"]: line["row"] for line in self.lines if "score" in line.get("schema", "")}

    @property
    def coverage(self) -> Row:
        assert self.lines[-1]["type"] == "coverage"
        return self.lines[-1]["coverage"]  # type: ignore[no-any-return]


@pytest.fixture
def watch(zone: Zone, tmp_path: Path) -> Watch:
    return lambda *options: Watched(zone, tmp_path, *options)


KINDS = {
    "fast.example": (UPSTREAM, "NOERROR"),
    "other.nx.example": (UPSTREAM, "NXDOMAIN"),
    "refused.test": (UPSTREAM, "REFUSED"),
    "servfail.test": (FAILING, "SERVFAIL"),
    "slow.fast.example": (SLOW, "NOERROR"),
}


def test_every_kind_of_answer(zone: Zone, watch: Watch) -> None:
    watched = watch()
    pids = {name: zone.ask(server, name) for name, (server, _) in KINDS.items()}
    watched.until("slow.fast.example")
    assert watched.stop() == 130
    rows = {name: watched.row(name, server) for name, (server, _) in KINDS.items()}
    assert {name: row["key"]["pid"] for name, row in rows.items()} == pids
    assert {name: row["rcode"] for name, row in rows.items()} == {name: rcode for name, (_, rcode) in KINDS.items()}
    assert all(row["process"].startswith("python") and row["transport"] == "udp" for row in rows.values())
    (answer,) = rows["fast.example"]["answers"]
    assert answer == {"name": "fast.example", "type": "A", "ttl_s": 77, "value": "192.0.2.80"}
    assert rows["slow.fast.example"]["latency_ns"] >= DELAY_S * 1e9
    assert {name for name, row in rows.items() if not 0 < row["latency_ns"] < zone.waited_ns[name]} == set()


def test_over_tcp_and_without_an_answer(zone: Zone, watch: Watch) -> None:
    watched = watch()
    over_tcp = zone.ask(UPSTREAM, "tcp.fast.example", "AAAA", "tcp")
    unheard = zone.ask(SILENT, "silent.example", seconds="0.1")
    watched.until("silent.example")
    assert watched.stop() == 130
    tcp, silent = watched.row("tcp.fast.example", UPSTREAM), watched.row("silent.example", SILENT)
    assert (tcp["transport"], tcp["answers"][0]["value"], tcp["key"]["pid"]) == ("tcp", "2001:db8::80", over_tcp)
    assert (silent["timed_out"], silent["rcode"], silent["latency_ns"]) == (True, None, None)
    assert silent["key"]["pid"] == unheard


def test_the_scores_say_what_happened(zone: Zone, watch: Watch) -> None:
    watched = watch()
    for number in range(5):
        zone.ask(SLOW, f"{number}.fast.example")
    zone.ask(SILENT, "silent.example", seconds="0.1")
    zone.ask(FAILING, "servfail.test")
    zone.ask(SLOW, "x.nx.example")
    watched.until("silent.example")
    assert watched.stop(signal.SIGTERM) == 143
    slow, silent, failing = (watched.scores[f"{server}:53"] for server in (SLOW, SILENT, FAILING))
    assert (slow["queries"], slow["answered"], slow["nonexistent"], slow["failures"]) == (6, 6, 1, 0)
    assert DELAY_S * 1e9 <= slow["latency_median_ns"] <= slow["latency_p95_ns"] <= slow["latency_max_ns"]
    assert (silent["queries"], silent["answered"], silent["timeouts"]) == (1, 0, 1)
    assert silent["latency_median_ns"] is None
    assert (failing["answered"], failing["failures"]) == (1, 1)
    assert any("encrypted" in note for note in watched.coverage["notes"])
    assert watched.coverage["lost"] == 0


def test_behind_a_stub(zone: Zone, watch: Watch) -> None:
    """dnsmasq on 127.0.0.53 asks another; the row of that question names who asked dnsmasq."""
    watched = watch()
    pid = zone.ask(STUB, "behind.fast.example")
    zone.ask(UPSTREAM, "end.fast.example")
    watched.until("end.fast.example")
    assert watched.stop() == 130
    rows = {row["server"]["address"]: row for row in watched.rows("behind.fast.example")}
    assert rows.keys() == {STUB, UPSTREAM}
    assert not rows[STUB]["via_stub"] and rows[STUB]["stub"] is None
    assert rows[UPSTREAM]["via_stub"] and rows[UPSTREAM]["stub"]["name"] == "dnsmasq"
    assert {row["key"]["pid"] for row in rows.values()} == {pid}
    assert rows[UPSTREAM]["latency_ns"] <= rows[STUB]["latency_ns"]


@pytest.mark.parametrize(
    ("transport", "group", "port"), [("mdns", "224.0.0.251", 5353), ("llmnr", "224.0.0.252", 5355)]
)
def test_questions_to_the_neighbourhood(zone: Zone, watch: Watch, transport: str, group: str, port: int) -> None:
    neighbour, place = [sys.executable, str(ROOT / "tests/system/neighbour.py")], [group, str(port)]
    assert stream(zone.start(*neighbour, *place).stdout).readline() == "ready\n"
    watched = watch()
    name = f"printer-{transport}.local"
    asking = zone.start(*neighbour, *place, name)
    pid = int(stream(asking.stdout).readline())
    assert asking.wait(timeout=PATIENCE_S) == 0
    watched.until(name)
    assert watched.stop() == 130
    (row,) = watched.rows(name)
    assert (row["transport"], row["rcode"], row["key"]["pid"]) == (transport, "NOERROR", pid)
    assert [answer["value"] for answer in row["answers"]] == ["192.0.2.99"] and row["latency_ns"] > 0


def test_retries_of_one_socket_are_attempts(zone: Zone, watch: Watch) -> None:
    watched = watch()
    script = f"""if True:
        import contextlib, dns.message, socket
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.settimeout(0.1)
        asker.connect(("{SILENT}", 53))
        for _ in range(3):
            asker.send({QUESTION!r})
            with contextlib.suppress(TimeoutError):
                asker.recv(100)
    """
    assert zone.start(sys.executable, "-c", script).wait(timeout=PATIENCE_S) == 0
    watched.until("again.example")
    watched.stop()
    (row,) = watched.rows("again.example")
    assert row["attempts"] == 3 and row["timed_out"]


def test_a_filter_a_limit_and_a_table(zone: Zone, watch: Watch) -> None:
    watched = watch("--filter", "rcode == 'SERVFAIL' or name == 'marker.example'", "--limit", "2")
    zone.ask(UPSTREAM, "fast.example")
    zone.ask(FAILING, "servfail.test")
    deadline = time.monotonic() + PATIENCE_S
    while watched.child.poll() is None and time.monotonic() < deadline:
        watched.read(0.2)
    watched.take(watched.child.communicate(timeout=PATIENCE_S)[0].encode())
    assert watched.child.returncode == 0
    assert watched.rows("servfail.test") and not watched.rows("fast.example")


def run(*arguments: str, zone: Zone | None = None, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    inside = ["nsenter", f"--net=/proc/{zone.holder.pid}/ns/net"] if zone else []
    command = [*inside, *before, sys.executable, "-m", "hostscope", "dns", *arguments]
    environment = {**os.environ, "HOSTSCOPE_AUDIT": "/dev/null", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=ROOT, env=environment
    )


def test_another_namespace_from_outside(zone: Zone) -> None:
    """Watched from the test's own namespace."""
    command = [sys.executable, "-m", "hostscope", "dns", "--namespace", str(zone.holder.pid), "--format", "ndjson",
               "--watch", "--filter", "name == 'outside.fast.example'", "--limit", "1"]  # fmt: skip
    environment = {**os.environ, "HOSTSCOPE_AUDIT": "/dev/null", "PYTHONPATH": str(ROOT / "src")}
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    pids, deadline = set(), time.monotonic() + PATIENCE_S
    while watching.poll() is None and time.monotonic() < deadline:
        pids.add(zone.ask(UPSTREAM, "outside.fast.example"))
    lines = [json.loads(line) for line in watching.communicate(timeout=PATIENCE_S)[0].splitlines()]
    assert watching.returncode == 0
    assert lines[0]["row"]["key"]["pid"] in pids and lines[0]["row"]["rcode"] == "NOERROR"


def test_a_capture_of_ours_is_read_with_the_processes_that_asked(zone: Zone, tmp_path: Path) -> None:
    path, probe = tmp_path / "asked.pcapng", str(tmp_path / "audit.jsonl")
    environment = {**os.environ, "HOSTSCOPE_AUDIT": probe, "PYTHONPATH": str(ROOT / "src")}
    hostscope = [sys.executable, "-m", "hostscope"]
    child = zone.start(*hostscope, "capture", "--output", str(path), env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < deadline and child.poll() is None
        zone.ask(UPSTREAM, "marker.example", seconds="1")
    asker, direct = zone.ask(STUB, "read.fast.example"), zone.ask(UPSTREAM, "direct.fast.example")
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=PATIENCE_S) == 130
    done = subprocess.run(
        [*hostscope, "dns", "--read", str(path), "--format", "json"],
        env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE_S,
    )  # fmt: skip
    rows = [row for row in json.loads(done.stdout)["rows"] if "fast.example" in row["name"]]
    found = {(row["name"], row["server"]["address"], row["process"].partition("[")[2], row["via_stub"]) for row in rows}
    os.chown(path, 65_534, 65_534)  # as an evidence folder's files may be somebody else's, and private
    for command in ("dns", "traffic"):
        told = [*hostscope, command, "--read", str(path), "--format", "json", "--quiet"]
        assert subprocess.run(told, env=environment, capture_output=True, timeout=PATIENCE_S, check=True).stderr == b""
    assert found == {
        ("read.fast.example", STUB, f"{asker}]", False),
        ("read.fast.example", UPSTREAM, f"{asker}]", True),
        ("direct.fast.example", UPSTREAM, f"{direct}]", False),
    }


def test_without_root_it_says_what_is_missing(zone: Zone) -> None:
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    done = run("--duration", "1", zone=zone, before=nobody)
    assert done.returncode == 4 and done.stdout == ""
    assert "CAP_NET_RAW" in done.stderr and "internal" not in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert run(zone=zone, before=nobody).returncode == 0, "the configuration is for everyone"


def test_bad_input(zone: Zone, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pcap"
    wrong.write_bytes(b"no capture")
    for arguments, word in (
        (("--interface", "nosuch0", "--duration", "1"), "nosuch0"),
        (("--read", str(wrong)), "not a pcap"),
        (("--read", str(tmp_path / "none.pcap")), "No such file"),
        (("--config", "--watch"), "--config"),
        (("--read", "x", "--duration", "1"), "--read"),
    ):
        done = run(*arguments, zone=zone)
        assert done.returncode == 2, (arguments, done)
        assert word in done.stderr and done.stdout == ""
