"""What everybody above the platforms makes of the scripted macOS."""

# Fixtures of another file are imports that arguments name again.
# ruff: noqa: F401, F811

import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hostscope.collectors import capture, interfaces, sockets
from hostscope.collectors.traffic import watch
from hostscope.model.capture import CaptureOutput, CaptureRequest
from hostscope.model.socket import SocketRequest
from hostscope.model.traffic import Counts, TrafficRequest
from hostscope.platforms.macos.host import open_host
from hostscope.platforms.macos.interfaces import WHERE
from hostscope.platforms.macos.packet_device import PacketDevice
from tests.macos.scripted import Darwin
from tests.macos.test_network import (
    LINKS,
    LOCAL,
    REMOTE,
    Descriptors,
    Devices,
    Kernel,
    connected,
    descriptors,
    devices,
    kernel,
    links,
    tap,
)
from tests.unit.platforms.macos.network_bytes import bpf_packet, link_message, ntstat_update, pcb, pcblist, pktap_v1


@pytest.fixture
def curl(descriptors: Descriptors, darwin: Darwin) -> Darwin:
    descriptors.process(100, {3: connected()}, comm=b"curl")
    darwin.value("net.inet.tcp.pcblist_n", pcblist(pcb(LOCAL, REMOTE, generation=4, state=4, uid=501)))
    darwin.value("net.inet.udp.pcblist_n", pcblist())
    return darwin


def test_sockets_and_interfaces_are_rows(links: Darwin, curl: Darwin) -> None:
    answer = sockets.collect(open_host(), SocketRequest())
    (row,) = answer.rows()
    assert row.owners[0].name == "curl"
    assert (answer.coverage.method, answer.coverage.complete) == ("libproc", True)
    assert [one.name for one in interfaces.collect(open_host()).rows()] == ["lo0", "en0", "en5"]


def test_traffic_is_measured_by_the_kernels_statistics(kernel: Kernel, curl: Darwin) -> None:
    kernel.updates = [ntstat_update(9, 2, 100, b"curl", LOCAL, REMOTE, (10, 4000, 5, 300))]
    with watch(open_host(), TrafficRequest()) as watching:
        kernel.updates = [ntstat_update(9, 2, 100, b"curl", LOCAL, REMOTE, (12, 4500, 6, 400))]
        (row,) = watching.look().processes
        assert (row.name, row.payload, watching.measures) == ("curl", Counts(100, 500, 1, 2), "payload")
        assert watching.coverage().method == "ntstat"


def test_traffic_of_captured_packets_has_its_process(devices: Devices, curl: Darwin) -> None:
    with watch(open_host(), TrafficRequest(method="capture", interfaces=("en0",))) as watching:
        devices.give(bpf_packet(_frame(), _soon() + 1, 1))
        deadline = time.monotonic() + 60
        flows: tuple[Any, ...] = ()
        while not flows and time.monotonic() < deadline:
            flows = watching.look().flows
        (flow,) = flows
        assert (flow.name, flow.wire, flow.interface) == ("curl", Counts(54, 0, 1, 0), "en0")


def test_traffic_of_captured_packets_has_the_process_that_pktap_names(
    devices: Devices, tap: list[Any], links: Darwin
) -> None:
    """Nobody holds the socket any more, and it was in no listing."""
    for protocol in ("tcp", "udp"):
        links.value(f"net.inet.{protocol}.pcblist_n", pcblist())
    links.add(100, comm=b"curl")
    with watch(open_host(), TrafficRequest(method="capture", interfaces=("en0",))) as watching:
        devices.give(
            bpf_packet(pktap_v1(1, 100, b"curl", b"en0", 2) + _frame(), _soon() + 1, 1),
            bpf_packet(pktap_v1(1, 100, b"curl", b"en5", 2) + _frame(), _soon() + 1, 2),
            to="pktap7",
        )
        look = watching.look()
        deadline = time.monotonic() + 60
        while not look.flows and time.monotonic() < deadline:
            look = watching.look()
        (flow,) = look.flows
        assert (flow.name, flow.wire, flow.interface) == ("curl", Counts(54, 0, 1, 0), "en0")
        assert flow.key is not None and flow.key.pid == 100
        assert look.ledger is not None and look.ledger.interfaces == ("en0",)
    assert ("destroyed", "pktap7") in tap


def test_the_tap_itself_is_no_part_of_the_ledger(devices: Devices, tap: list[Any], links: Darwin) -> None:
    for protocol in ("tcp", "udp"):
        links.value(f"net.inet.{protocol}.pcblist_n", pcblist())
    links.numbers(WHERE, LINKS + link_message(b"pktap7", 9, 0xFE, 0x41))
    with watch(open_host(), TrafficRequest(method="capture")) as watching:
        ledger = watching.look().ledger
        assert ledger is not None and sorted(ledger.interfaces) == ["en0", "lo0"]


def test_a_file_of_packets_names_the_processes_that_pktap_named(
    kernel: Kernel,
    devices: Devices,
    tap: list[Any],
    darwin: Darwin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody holds the socket, and no counter knows it: only the kernel's own word does."""
    darwin.value("net.inet.tcp.pcblist_n", pcblist())
    darwin.value("net.inet.udp.pcblist_n", pcblist())
    darwin.add(100, comm=b"curl")
    for name in ("kern.hostname", "kern.osrelease", "hw.machine"):
        darwin.value(name, b"here\0")
    for name in ("hw.activecpu", "hw.memsize"):
        darwin.value(name, bytes(8))
    begin = PacketDevice.begin

    def begun(device: PacketDevice, *asked: Any) -> None:
        begin(device, *asked)
        devices.give(bpf_packet(pktap_v1(1, 100, b"curl", b"en0", 2) + _frame(), int(time.time()), 1))

    monkeypatch.setattr(PacketDevice, "begin", begun)
    path = tmp_path / "out.pcapng"
    output = CaptureOutput(str(path), max_packets=1)
    last = capture.record(open_host(), CaptureRequest(interfaces=("pktap",)), output, threading.Event()).rows()[-1]
    assert (last.packets, last.named_packets) == (1, 1)
    assert b"192.168.1.5:50000 = curl[100]" in path.read_bytes()


def _soon() -> int:
    """Seconds: a packet's stamp that is not before the meter was opened."""
    return int(time.time()) + 1


def _frame() -> bytes:
    """A TCP acknowledgement from us."""
    network = struct.pack(">BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + bytes([192, 168, 1, 5, 93, 184, 216, 34])
    transport = struct.pack(">HHIIBBHHH", LOCAL[1], REMOTE[1], 1, 0, 0x50, 0x10, 100, 0, 0)
    return bytes(12) + b"\x08\x00" + network + transport
