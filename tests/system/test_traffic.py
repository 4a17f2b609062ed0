"""Payload by process, against what children know that they sent."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hostscope.collectors.traffic import Look, TrafficWatch, watch
from hostscope.model.traffic import Counts, Flow, TrafficRequest
from hostscope.platforms import open_host
from hostscope.platforms.tally import Tally
from tests.descriptors import descriptors
from tests.system import talkers

pytestmark = [pytest.mark.system, pytest.mark.root]


@contextmanager
def measuring(method: str = "accounting", **options: Any) -> Iterator[Callable[[], Look]]:
    with watch(open_host(), TrafficRequest(method=method, names=False, **options)) as watching:
        yield watching.look


def of(look: Look, pid: int) -> Counts:
    """Payload of a process."""
    rows = [row for row in look.processes if row.key and row.key.pid == pid]
    assert len(rows) == 1, [row.name for row in look.processes]
    assert rows[0].payload is not None and rows[0].wire is None
    return rows[0].payload


def flows_of(look: Look, pid: int) -> list[Flow]:
    return [flow for flow in look.flows if flow.key and flow.key.pid == pid]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("tcp", (512, 500)),
        ("tcp", (100_000, 20)),
        ("tcp", (512, 500, "::1")),
        ("tcp", (512, 500, "::", "127.0.0.1")),
        ("udp", (200, 500, "connected")),
        ("udp", (200, 500, "unconnected")),
        ("udp", (200, 500, "connected", "::1")),
        ("peek", ()),
    ],
)
def test_payload_is_what_was_sent(name: str, arguments: tuple[object, ...]) -> None:
    with measuring() as look:
        told = talkers.talk(name, *arguments)
        counts = of(look(), told["pid"])
    assert (counts.sent_bytes, counts.received_bytes) == (told["sent"], told["received"])


def test_ends_are_told() -> None:
    with measuring() as look:
        told = talkers.talk("tcp", 10, 1, "::", "127.0.0.1")
        flows = flows_of(look(), told["pid"])
    assert {flow.direction for flow in flows} == {"inbound", "outbound"}
    assert all(flow.protocol == "tcp" and flow.local.address == "127.0.0.1" for flow in flows)  # mapped ones too
    (out,) = (flow for flow in flows if flow.direction == "outbound")
    assert out.local.port == told["port"]
    assert out.key is not None and out.user is not None and out.user.id == "0" and out.net_ns


def test_sockets_without_a_network_do_not_count() -> None:
    with measuring() as look:
        told = talkers.talk("unix")
        assert not flows_of(look(), told["pid"])


def test_sendfile_counts_as_sent() -> None:
    with measuring() as look:
        told = talkers.talk("sendfile", 1_000_000)
        assert of(look(), told["pid"]).sent_bytes == told["sent"]


def test_what_is_spliced_out_of_a_socket_is_missed_as_stated() -> None:
    with measuring() as look:
        told = talkers.talk("spliced", 50_000)
        counts = of(look(), told["pid"])
    assert (counts.sent_bytes, counts.received_bytes) == (told["sent"], 0)


def test_children_of_a_server_have_what_they_sent() -> None:
    with measuring() as look:
        told = talkers.talk("forked", 20_000)
        after = look()
    assert [of(after, child).sent_bytes for child in told["children"]] == [20_000] * 3
    assert of(after, told["pid"]) == Counts(0, told["received"], 0, of(after, told["pid"]).received_packets)


def test_a_passed_connection_counts_for_who_uses_it() -> None:
    with measuring() as look:
        told = talkers.talk("passed", 5000)
        after = look()
    assert of(after, told["pid"]).sent_bytes == told["sent"]
    assert of(after, told["child"]).sent_bytes == told["child_sent"]
    parent, child = flows_of(after, told["pid"]), flows_of(after, told["child"])
    assert child[0].cookie in {flow.cookie for flow in parent}


def test_processes_of_milliseconds_are_complete() -> None:
    with measuring() as look:
        told = talkers.talk("brief", 50, 3000)
        after = look()
    assert [of(after, pid).sent_bytes for pid in told["pids"]] == [told["sent"]] * 50
    assert of(after, told["pid"]).received_bytes == told["received"]
    rows = {row.key.pid: row for row in after.processes if row.key}
    assert all(rows[pid].ended and rows[pid].name.startswith("python") and rows[pid].user for pid in told["pids"])


def test_a_shared_port_is_told_apart() -> None:
    with measuring() as look:
        told = talkers.talk("reuse")
        after = look()
    for pid, got in told["got"].items():
        received = sum(
            flow.payload.received_bytes
            for flow in flows_of(after, int(pid))
            if flow.payload and flow.local.port == told["port"]
        )
        assert received == got


def test_what_finds_no_room_is_counted() -> None:
    with measuring(max_flows=8) as look:
        told = talkers.talk("brief", 30, 1000)
        after = look()
        assert after.ledger is not None
        lost = {line.reason: line for line in after.ledger.lines}["lost"]
        kept = sum(row.payload.sent_bytes for row in after.processes if row.payload and row.key)
    assert lost.bytes > 0 and lost.packets > 0
    assert kept < 30 * told["sent"]


def test_the_coverage_says_how_and_what_is_missed() -> None:
    tally = Tally()
    with watch(open_host(), TrafficRequest(names=False), tally):
        pass
    coverage = tally.coverage()
    assert coverage.method == "accounting" and coverage.method_reason is None
    assert any("splice" in note for note in coverage.notes)
    assert any("sock_send_length" in effect for effect in coverage.effects)


def test_nothing_stays_in_the_kernel() -> None:
    before = descriptors()
    with measuring():
        assert any("bpf" in name for name in descriptors() - before)
    gc.collect()
    assert not any("bpf" in name for name in descriptors() - before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_the_totals(number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "hostscope", "traffic", "--format", "ndjson", "--interval", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert '"type"' in child.stdout.readline()
        rest = list[str]()
        reader = threading.Thread(target=lambda: rest.extend(child.stdout or ()))
        reader.start()
        child.send_signal(number)
        reader.join(60)
        assert child.wait(60) == code
    assert '"type":"coverage"' in rest[-1]


def test_polling_sees_long_connections() -> None:
    server = talkers.start("serve", "127.0.0.1")
    port = talkers.said(server)["port"]
    with watch(open_host(), TrafficRequest(method="polling")) as watching:
        told = _hold(watching, port, 300_000)
    talkers.end(server)
    assert told == 300_000


def _hold(watching: TrafficWatch, port: int, size: int) -> int:
    import socket

    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"x" * size)
        told, deadline = 0, time.monotonic() + 60
        while told < size and time.monotonic() < deadline:  # what is still in our buffers was not sent
            look = watching.look()
            told = sum(flow.payload.sent_bytes for flow in flows_of(look, os.getpid()) if flow.payload)
        return told
