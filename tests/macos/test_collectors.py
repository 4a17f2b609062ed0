"""What everybody above the platforms makes of the scripted macOS."""

# Fixtures of another file are imports that arguments name again.
# ruff: noqa: F401, F811

import struct
import time
from typing import Any

import pytest

from hostscope.collectors import interfaces, sockets
from hostscope.collectors.traffic import watch
from hostscope.model.socket import SocketRequest
from hostscope.model.traffic import Counts, TrafficRequest
from hostscope.platforms.macos.host import open_host
from tests.macos.scripted import Darwin
from tests.macos.test_network import (
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
)
from tests.unit.platforms.macos.network_bytes import bpf_packet, ntstat_update, pcb, pcblist


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
        devices.give(bpf_packet(_frame(), int(time.time()), 1))
        deadline = time.monotonic() + 10
        flows: tuple[Any, ...] = ()
        while not flows and time.monotonic() < deadline:
            flows = watching.look().flows
        (flow,) = flows
        assert (flow.name, flow.wire, flow.interface) == ("curl", Counts(54, 0, 1, 0), "en0")


def _frame() -> bytes:
    """A TCP acknowledgement from us."""
    network = struct.pack(">BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + bytes([192, 168, 1, 5, 93, 184, 216, 34])
    transport = struct.pack(">HHIIBBHHH", LOCAL[1], REMOTE[1], 1, 0, 0x50, 0x10, 100, 0, 0)
    return bytes(12) + b"\x08\x00" + network + transport
