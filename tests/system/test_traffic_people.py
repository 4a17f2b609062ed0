"""Traffic with names, in containers, on a terminal, and without privileges."""

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostscope.collectors.traffic import Look, watch
from hostscope.model.traffic import Flow, TrafficRequest
from hostscope.platforms import open_host
from tests.system.commands import need
from tests.system.test_names import certified, served
from tests.system.told_child import run_told

pytestmark = [pytest.mark.system, pytest.mark.root]
__all__ = ["certified"]


def flows_of(look: Look, pid: int) -> list[Flow]:
    return [flow for flow in look.flows if flow.key and flow.key.pid == pid]


def test_curl_over_tls_is_named_by_its_hello(certified: Path) -> None:
    curl = need("curl", "curl")
    request = TrafficRequest(method="capture", interfaces=("lo",))
    with served(certified) as port, watch(open_host(), request) as watching:
        place = f"shop.example:{port}:127.0.0.1"
        command = [curl, "-sk", "--resolve", place, f"https://shop.example:{port}/"]
        subprocess.run(command, check=True, timeout=60)
        look = watching.look()
    named = [flow for flow in look.flows if flow.remote and flow.remote.port == port]
    assert [(flow.domain, flow.domain_source) for flow in named] == [("shop.example", "tls")]


def test_curl_has_all_its_payload(certified: Path) -> None:
    curl = need("curl", "curl")
    with served(certified) as port, watch(open_host(), TrafficRequest(method="accounting")) as watching:
        with subprocess.Popen([curl, "-sk", f"https://127.0.0.1:{port}/"], stdout=subprocess.DEVNULL) as child:
            pass
        look = watching.look()
    (mine,) = flows_of(look, child.pid)
    assert mine.name == "curl" and mine.remote is not None and mine.remote.port == port
    theirs = [flow for flow in flows_of(look, os.getpid()) if flow.local.port == port and flow.payload]
    assert mine.payload is not None
    assert mine.payload.received_bytes == sum(flow.payload.sent_bytes for flow in theirs if flow.payload) > 0


def answer(name: str, address: str) -> bytes:
    """A DNS answer that gives an address for a name."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
    record = b"\xc0\x0c\0\1\0\1" + (60).to_bytes(4, "big") + b"\0\4" + socket.inet_aton(address)
    return b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0" + question + record


@pytest.mark.parametrize("method", ["accounting", "wire"])
def test_dns_answers_name_later_connections(method: str) -> None:
    with watch(open_host(), TrafficRequest(method=method, names=True)) as watching:
        server, client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        with server, client, socket.create_server(("127.0.0.77", 0)) as listener:
            try:
                server.bind(("127.0.0.88", 53))
            except OSError as failed:
                pytest.skip(f"port 53: {failed}")
            client.bind(("127.0.0.1", 0))
            server.sendto(answer("db.example", "127.0.0.77"), client.getsockname())
            client.recv(512)
            with socket.create_connection(listener.getsockname()) as talker:
                talker.sendall(b"x")
                look = watching.look()
    named = [flow for flow in flows_of(look, os.getpid()) if flow.domain]
    assert {flow.domain for flow in named} == {"db.example"}
    assert {flow.remote.address for flow in named if flow.remote} == {"127.0.0.77"}


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs a shell line in a runc container with a network of its own; gives its output."""
    runc, busybox = need("runc", "runc"), need("busybox", "busybox-static")
    root = tmp_path / "rootfs"
    for folder in ("bin", "proc", "dev", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    subprocess.run([runc, "spec", "-b", str(tmp_path)], check=True, timeout=60)
    name = f"hostscope-traffic-{os.getpid()}"

    def run(line: str) -> str:
        config = json.loads((tmp_path / "config.json").read_text())
        config["process"].pop("rlimits", None)
        config["process"] |= {"terminal": False, "args": ["/bin/busybox", "sh", "-c", line]}
        config["root"] = {"path": str(root), "readonly": False}
        (tmp_path / "config.json").write_text(json.dumps(config))
        command = [runc, "run", "-b", str(tmp_path), name]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            pytest.skip(f"runc does not work here: {done.stderr.strip()[-300:]}")
        return done.stdout

    try:
        yield run
    finally:
        subprocess.run([runc, "delete", "-f", name], capture_output=True, check=False, timeout=60)


TALK = """
cd /tmp; b=/bin/busybox
$b dd if=/dev/zero of=file bs=1000 count=300 2>/dev/null
$b httpd -p 127.0.0.1:5000 -h /tmp
$b wget -q -O got http://127.0.0.1:5000/file
$b wc -c < got; $b readlink /proc/self/ns/net
"""


def test_a_container_talks_in_its_own_namespace(container: Callable[..., str]) -> None:
    with watch(open_host(), TrafficRequest(method="accounting")) as watching:
        out = container(TALK).split()
        look = watching.look()
    assert out[0] == "300000"
    inode = int(out[1].removeprefix("net:[").removesuffix("]"))
    mine = [flow for flow in look.flows if flow.net_ns == inode and flow.payload]
    sent = sum(flow.payload.sent_bytes for flow in mine if flow.payload)
    assert 300_000 < sent < 302_000
    assert sum(flow.payload.received_bytes for flow in mine if flow.payload) == sent
    assert all(flow.key for flow in mine)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_live_table_leaves_the_terminal_as_it_was(number: signal.Signals, code: int) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm", "LINES": "24", "COLUMNS": "100"}
        os.execv(sys.executable, [sys.executable, "-m", "hostscope", "traffic", "--interval", "0.1"])
    seen = _read_until(terminal, lambda text: text.count(b"ledger") > 1)
    os.kill(pid, number)
    seen += _read_until(terminal, lambda text: False)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == code
    before, _, after = seen.partition(b"\x1b[?25h\x1b[?1049l")
    assert b"\x1b[?1049h\x1b[?25l" in before
    assert b"PAYLOAD SENT" in after and b"ledger" in after and b"\x1b[?" not in after


def _read_until(terminal: int, enough: Callable[[bytes], bool]) -> bytes:
    """What a terminal shows until it is enough, or it is closed."""
    seen, deadline = b"", time.monotonic() + 60
    while not enough(seen) and time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            more = os.read(terminal, 1 << 16)
        except OSError:  # EIO: the other side is closed
            break
        if not more:
            break
        seen += more
    return seen


UNPRIVILEGED = """
import socket
from hostscope.collectors.traffic import watch
from hostscope.errors import Denied
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms import open_host
from hostscope.platforms.tally import Tally
tally = Tally()
with socket.create_server(("127.0.0.1", 0)) as listener, watch(open_host(), TrafficRequest(), tally) as watching:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.sendall(b"x" * 5000)
    look = watching.look()
    rows = {row.key.pid: row.payload.sent_bytes for row in look.processes if row.key}
denied = []
for method in ("accounting", "wire", "capture"):
    try:
        with watch(open_host(), TrafficRequest(method=method)):
            pass
    except Denied as failed:
        denied.append([method, bool(failed.hint)])
import os
told = {"method": tally.method, "reason": tally.method_reason, "sent": rows.get(os.getpid()), "denied": denied}
"""


def test_without_privileges_own_connections_are_polled() -> None:
    told = run_told(UNPRIVILEGED, drop=True, before='import os, socket; os.environ["HOSTSCOPE_AUDIT"] = os.devnull\n')
    assert told["method"] == "polling" and told["sent"] == 5000
    assert "permission denied" in told["reason"] and "not capture" in told["reason"]
    assert told["denied"] == [["accounting", True], ["wire", True], ["capture", True]]
