"""Packets by process: what interfaces carried, whose it was, and that the ledger balances."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hostscope.collectors.traffic import Look, watch
from hostscope.errors import Unsupported
from hostscope.model.traffic import Counts, Flow, Ledger, TrafficRequest
from hostscope.platforms import open_host
from hostscope.platforms.linux.traffic import Traffic
from hostscope.platforms.tally import Tally
from tests.system import talkers
from tests.system.commands import need
from tests.system.links import Pair, ip, pair

pytestmark = [pytest.mark.system, pytest.mark.root]

METHODS = ("wire", "capture")


@contextmanager
def measuring(method: str, **options: Any) -> Iterator[Callable[[], Look]]:
    with watch(open_host(), TrafficRequest(method=method, names=False, **options)) as watching:
        yield watching.look


def ledger_of(look: Look) -> Ledger:
    assert look.ledger is not None and not look.ledger.estimated
    return look.ledger


def part(look: Look, reason: str) -> int:
    """Bytes of one line of the ledger."""
    return sum(line.bytes for line in ledger_of(look).lines if line.reason == reason)


def off(look: Look) -> float:
    """Which share of what the interfaces counted no line accounts for."""
    ledger = ledger_of(look)
    return abs(ledger.remainder_bytes) / max(1, ledger.interface_bytes)


def wire_of(look: Look, pid: int, interface: str | None = None) -> Counts:
    flows = [flow for flow in look.flows if flow.key and flow.key.pid == pid]
    wanted = (flow.wire for flow in flows if flow.wire and interface in (None, flow.interface))
    return sum(wanted, Counts())


def flows_of(look: Look, pid: int) -> list[Flow]:
    return [flow for flow in look.flows if flow.key and flow.key.pid == pid]


def udp_on_loopback(size: int, times: int) -> int:
    """Bytes that the interface counts for each direction: no link header, 20 of IPv4, 8 of UDP."""
    return (size + 28) * times


def test_datagrams_are_exact_on_loopback() -> None:
    with measuring("wire", interfaces=("lo",)) as look:
        told = talkers.talk("udp", 200, 300)
        after = look()
    counts = wire_of(after, told["pid"])
    assert counts == Counts(udp_on_loopback(200, 300), udp_on_loopback(200, 300), 300, 300)
    assert all(row.payload is None for row in after.processes)


@pytest.mark.parametrize("method", METHODS)
def test_the_ledger_balances_on_loopback(method: str) -> None:
    with measuring(method, interfaces=("lo",)) as look:
        server = talkers.start("serve", "127.0.0.1")
        place = talkers.said(server)
        talkers.talk("send", "127.0.0.1", place["port"], 3_000_000)
        talkers.talk("send", "127.0.0.1", place["port"], 200_000, "udp")
        after = look()
        talkers.end(server)
    assert off(after) < 0.01
    assert ledger_of(after).interface_bytes > 6_000_000
    assert wire_of(after, place["pid"]).received_bytes > 3_200_000


def test_processes_of_milliseconds_have_their_packets() -> None:
    with measuring("wire", interfaces=("lo",)) as look:
        told = talkers.talk("brief", 40, 5000)
        after = look()
    assert off(after) < 0.01
    assert part(after, "attributed") > 0.99 * ledger_of(after).interface_bytes
    assert all(wire_of(after, pid).sent_bytes > told["sent"] for pid in told["pids"])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_ping_belongs_to_ping(address: str) -> None:
    command = need("ping", "iputils-ping")
    with measuring("wire", interfaces=("lo",)) as look:
        with subprocess.Popen([command, "-c", "5", "-i", "0.01", address], stdout=subprocess.DEVNULL) as child:
            pass
        after = look()
    counts = wire_of(after, child.pid)
    assert counts.sent_packets >= 5 and counts.received_packets >= 5
    assert {flow.protocol for flow in flows_of(after, child.pid)} <= {"icmp", "icmp6", "udp"}


@pytest.mark.parametrize("method", METHODS)
def test_both_ends_of_a_cable(method: str) -> None:
    """Frames of a veth pair count with their link header; what the far end does is seen only in its namespace."""
    with pair("tw", "10.213.41") as cable:
        server = talkers.start("serve", cable.far_address, prefix=tuple(cable.beyond()))
        place = talkers.said(server)
        with measuring(method, interfaces=(cable.near,)) as look:
            told = talkers.talk("send", cable.far_address, place["port"], 300_000, "udp")
            after = look()
        assert talkers.end(server)["received"] == 300_000
    counts = wire_of(after, told["pid"], cable.near)
    assert (counts.sent_bytes, counts.sent_packets) == (300 * (1000 + 28 + 14), 300) or method == "capture"
    assert off(after) < 0.01
    assert counts.sent_bytes >= 300 * 1042 or part(after, "gone") > 0


def test_processes_of_other_namespaces_are_named_there() -> None:
    with pair("tn", "10.213.42") as cable:
        server = talkers.start("serve", cable.far_address, prefix=tuple(cable.beyond()))
        place = talkers.said(server)
        with measuring("wire") as look:
            told = talkers.talk("send", cable.far_address, place["port"], 500_000)
            after = look()
        talkers.end(server)
    (far,) = (flow for flow in flows_of(after, place["pid"]) if flow.protocol == "tcp")
    assert far.interface == cable.far and far.direction == "inbound"
    assert far.wire is not None and far.wire.received_bytes > 500_000
    assert wire_of(after, told["pid"]).sent_bytes == far.wire.received_bytes
    assert off(after) < 0.01


@contextmanager
def forwarding(first: Pair, second: Pair) -> Iterator[None]:
    """Packets pass from one cable to the other through us."""
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    before = switch.read_text()
    try:
        switch.write_text("1")
    except OSError as failed:
        pytest.skip(f"packets cannot be forwarded here: {failed}")
    ip("-n", first.namespace, "route", "add", "default", "via", first.near_address)
    ip("-n", second.namespace, "route", "add", "default", "via", second.near_address)
    try:
        yield
    finally:
        switch.write_text(before)


def through(first: Pair, second: Pair, interfaces: tuple[str, ...]) -> tuple[Look, int]:
    """What is seen of 400,000 bytes that pass through us, and the sender's pid."""
    server = talkers.start("serve", second.far_address, prefix=tuple(second.beyond()))
    place = talkers.said(server)
    with measuring("wire", interfaces=interfaces) as look:
        prefix = tuple(first.beyond())
        told = talkers.talk("send", second.far_address, place["port"], 400_000, prefix=prefix)
        after = look()
    assert talkers.end(server)["received"] == 400_000
    return after, told["pid"]


def test_forwarded_packets_are_nobodys_here() -> None:
    with pair("tf", "10.213.43") as first, pair("tg", "10.213.44") as second, forwarding(first, second):
        after, pid = through(first, second, (first.near, second.near))
        everywhere, sender = through(first, second, ())
    assert off(after) < 0.01
    assert part(after, "attributed") == 0 and not flows_of(after, pid)
    passed = part(after, "forwarded") + part(after, "other-namespace")
    assert passed > 800_000 and passed >= 0.99 * ledger_of(after).interface_bytes
    assert wire_of(everywhere, sender, first.far).sent_bytes > 400_000
    assert off(everywhere) < 0.01


def test_translated_packets_are_forwarded_ones() -> None:
    nft = need("nft", "nftables")
    with pair("tt", "10.213.45") as first, pair("tu", "10.213.46") as second, forwarding(first, second):
        table = f"hostscope_test_{os.getpid()}"
        rules = f"add table ip {table}\nadd chain ip {table} post {{ type nat hook postrouting priority 100; }}\n"
        rules += f"add rule ip {table} post oifname {second.near} masquerade\n"
        made = subprocess.run([nft, "-f", "-"], input=rules, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"no address translation here: {made.stderr.strip()}")
        try:
            after, _ = through(first, second, (second.near,))
        finally:
            subprocess.run([nft, "delete", "table", "ip", table], check=True)
    assert off(after) < 0.01
    assert part(after, "attributed") == 0
    assert part(after, "forwarded") + part(after, "other-namespace") > 400_000


def test_a_bridge_counts_once_for_processes() -> None:
    with pair("tb", "10.213.47") as cable:
        bridge = f"tb{os.getpid() % 10_000}br"
        try:
            ip("link", "add", bridge, "type", "bridge")
        except OSError as failed:
            pytest.skip(f"no bridges here: {failed}")
        try:
            ip("addr", "flush", "dev", cable.near)
            ip("link", "set", cable.near, "master", bridge)
            ip("addr", "add", f"{cable.near_address}/24", "dev", bridge)
            ip("link", "set", bridge, "up")
            server = talkers.start("serve", cable.far_address, prefix=tuple(cable.beyond()))
            place = talkers.said(server)
            with measuring("wire", interfaces=(bridge, cable.near)) as look:
                told = talkers.talk("send", cable.far_address, place["port"], 300_000)
                after = look()
            talkers.end(server)
        finally:
            ip("link", "del", bridge)
    assert off(after) < 0.01
    assert {flow.interface for flow in flows_of(after, told["pid"])} == {bridge}
    assert part(after, "bridged") > 300_000


def test_packets_that_find_no_room_are_counted_as_lost() -> None:
    with measuring("wire", interfaces=("lo",), max_flows=16) as look:
        talkers.talk("brief", 60, 1000)
        after = look()
    assert part(after, "lost") > 0
    assert off(after) < 0.01


def test_datagrams_to_443_belong_to_their_sender() -> None:
    """They begin as QUIC's do; the flow stays ``udp`` where no hello can be read."""
    with measuring("capture", interfaces=("lo",)) as look:
        receiver, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        with receiver, sender:
            try:
                receiver.bind(("127.0.0.9", 443))
            except OSError as failed:
                pytest.skip(f"port 443: {failed}")
            for _ in range(20):
                sender.sendto(b"\x40" + b"x" * 1199, ("127.0.0.9", 443))
            after = look()
    counts = wire_of(after, os.getpid())
    assert counts.sent_packets >= 20 and counts.sent_bytes >= udp_on_loopback(1200, 20)


def test_captured_packets_of_processes_that_ended_have_them() -> None:
    """The kernel's own counting knows whose sockets they were that no listing met."""
    with measuring("capture", interfaces=("lo",)) as look:
        told = [talkers.talk("tcp", 1000, 20) for _ in range(3)] + [talkers.talk("udp", 1000, 20) for _ in range(3)]
        after = look()
    assert off(after) < 0.01
    for one in told:
        assert wire_of(after, one["pid"]).sent_bytes >= one["sent"]


def test_without_the_tracepoints_sockets_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 6.3: what is there when it is looked for has a process, and the ledger balances all the same."""

    def lacking(*arguments: object) -> None:
        raise Unsupported("the kernel has no tracepoint sock_send_length")

    monkeypatch.setattr(Traffic, "_payload_meter", lacking)
    server = talkers.start("serve", "127.0.0.1")
    place = talkers.said(server)
    tally = Tally()
    with (
        watch(open_host(), TrafficRequest(), tally) as watching,
        socket.create_connection(("127.0.0.1", place["port"])) as client,
    ):
        client.sendall(b"x" * 300_000)
        after, deadline = watching.look(), time.monotonic() + 60
        both = (place["pid"], os.getpid())
        while min(wire_of(after, pid).total_bytes for pid in both) < 300_000 and time.monotonic() < deadline:
            after = watching.look()
    talkers.end(server)
    assert tally.method == "wire" and "sock_send_length" in (tally.method_reason or "")
    assert any("shorter than a second" in note for note in tally.notes)
    assert wire_of(after, place["pid"]).received_bytes > 300_000
    assert wire_of(after, os.getpid()).sent_bytes > 300_000
    assert off(after) < 0.01


def test_iperf_agrees() -> None:
    iperf = need("iperf3", "iperf3")
    port = _free_port()
    with measuring("wire", interfaces=("lo",)) as look:
        with subprocess.Popen([iperf, "-s", "-1", "-p", str(port)], stdout=subprocess.DEVNULL) as server:
            _until_listening(port)
            command = [iperf, "-c", "127.0.0.1", "-p", str(port), "-n", "50M", "-J"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
                told = json.load(client.stdout or sys.stdin)
        after = look()
    sent, received = (told["end"][which]["bytes"] for which in ("sum_sent", "sum_received"))
    assert off(after) < 0.01
    # What the client had handed over when it ended the test may not all have been sent.
    assert received <= wire_of(after, client.pid).sent_bytes <= sent * 1.02
    assert wire_of(after, server.pid).received_bytes == wire_of(after, client.pid).sent_bytes


def _free_port() -> int:
    """One that nobody is given who asks for any."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(first_given - 1, 1024, -1):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise RuntimeError("every port is taken")


def _until_listening(port: int) -> None:
    """Without connecting: the server serves one client only."""
    wait = threading.Event()
    for _ in range(6000):
        tables = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        if re.search(f":{port:04X} 0+:0000 0A", tables):
            return
        wait.wait(0.01)
    raise RuntimeError("iperf3 does not listen")


@pytest.mark.parametrize("form", ["json", "ndjson", "tsv", "csv"])
def test_one_shot_is_clean(form: str) -> None:
    command = [sys.executable, "-m", "hostscope", "traffic", "--method", "wire", "--duration", "0.3", "--format", form]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    if form == "json":
        document = json.loads(done.stdout)
        assert document["ledger"]["estimated"] is False and document["coverage"]["method"] == "wire"
    elif form == "ndjson":
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["type"] for line in lines[-2:]] == ["ledger", "coverage"]
    else:
        assert done.stdout.splitlines()[0].split("\t" if form == "tsv" else ",")[:2] == ["pid", "name"]
