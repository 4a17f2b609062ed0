"""Bytes that Apple's headers lay out decode to what was put in, on both machines."""

import ctypes
import re
from functools import cache
from typing import Any

import pytest

pytest.importorskip("ziglang", reason="needs the compiler with Apple's headers (pip install ziglang)")

from hostscope.model.interface import Route
from hostscope.platforms.macos import parse, parse_detail
from hostscope.platforms.macos.native import bpf, descriptors, mach, routes
from hostscope.platforms.macos.parse_route_table import parse_route_table
from hostscope.platforms.macos.parse_routes import parse_totals
from tests.abi.compiler import compiled
from tests.abi.cpp import text

MACHINES = ("aarch64-macos", "x86_64-macos")
SIZES = {"byte": 1, "short": 2, "long": 4, "quad": 8}


@cache
def golden(machine: str) -> dict[str, bytes]:
    """Each constant's bytes, out of the compiler's assembly text."""
    assembly = compiled(
        text("golden.c"),
        machine,
        ("-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wno-unused-command-line-argument", "-g0"),
        "c",
        "assembly",
    )
    found: dict[str, bytearray] = {}
    name = ""
    for line in assembly.splitlines():
        if label := re.match(r"_golden_(\w+):", line):
            name = label[1]
            found[name] = bytearray()
        elif name and (data := _data(line.strip())) is not None:
            found[name] += data
        elif line and not line.startswith(("\t", " ")):
            name = ""
    return {name: bytes(raw) for name, raw in found.items()}


def _data(line: str) -> bytes | None:
    """What one directive puts into the section."""
    directive, _, value = re.sub(r"\s*(##|;|//).*", "", line).partition("\t")
    kind = directive.lstrip(".")
    if kind in SIZES:
        return b"".join(
            (int(part, 0) & (1 << 8 * SIZES[kind]) - 1).to_bytes(SIZES[kind], "little") for part in value.split(",")
        )
    if kind in ("space", "zero"):
        count, _, fill = value.partition(",")
        return bytes([int(fill or "0", 0)]) * int(count, 0)
    if kind in ("ascii", "asciz"):
        quoted = re.match(r'"((?:[^"\\]|\\.)*)"', value)
        assert quoted is not None, line
        raw = re.sub(rb"\\([0-7]{1,3})", lambda m: bytes([int(m[1], 8)]), quoted[1].encode())
        return raw + (b"\0" if kind == "asciz" else b"")
    return None


def decoded(machine: str, name: str, structure: Any) -> Any:
    raw = golden(machine)[name]
    assert len(raw) >= ctypes.sizeof(structure)
    return structure.from_buffer_copy(raw)


@pytest.mark.parametrize("machine", MACHINES)
def test_task(machine: str) -> None:
    found = parse.parse_task(golden(machine)["taskall"][: parse.TASK_BYTES])
    assert (found.pid, found.ppid, found.uid, found.svgid, found.name) == (4242, 1, 501, 20, "Safari Web Content")
    assert (found.nice, found.start_us, found.terminal) == (-5, 1_700_000_000_000_042, 0x10000003)
    assert (found.resident_bytes, found.threads, found.user_time, found.priority) == (0x200000001, 7, 123456789, 46)


@pytest.mark.parametrize("machine", MACHINES)
def test_table(machine: str) -> None:
    (found,) = parse.parse_processes(golden(machine)["kinfo"][: parse.KINFO_BYTES])
    assert (found.pid, found.name, found.status, found.ppid, found.pgid) == (77, "kp", 5, 3, 70)
    assert (found.uid, found.ruid, found.svgid, found.groups) == (502, 503, 21, (20, 12))
    assert (found.start_us, found.nice, found.flags, found.terminal) == (1_700_000_000_000_042, -7, 0x20000, None)
    assert found.login == "ann"


@pytest.mark.parametrize("machine", MACHINES)
def test_usage(machine: str) -> None:
    assert parse.parse_usage(golden(machine)["usage"][: parse.USAGE_V6_BYTES]) == parse.Usage(
        footprint_bytes=11, child_user_time=66, child_system_time=0, read_bytes=21, written_bytes=22,
        billed_energy_nj=33, energy_nj=55,
    )  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES)
def test_region(machine: str) -> None:
    found = parse_detail.parse_region(golden(machine)["region"][: parse_detail.REGION_BYTES])
    assert (found.start, found.end, found.offset) == (0x100000000, 0x100004000, 0x8000)
    assert (found.permissions, found.device, found.inode, found.path) == ("r-xs", "01:04", 4711, "/bin/ls")


@pytest.mark.parametrize("machine", MACHINES)
def test_socket(machine: str) -> None:
    found = decoded(machine, "socket", descriptors.socket_fdinfo).psi
    tcp = found.soi_proto.pri_tcp
    assert (found.soi_family, found.soi_kind, tcp.tcpsi_state) == (30, 2, 4)
    assert (tcp.tcpsi_ini.insi_lport, tcp.tcpsi_ini.insi_fport, tcp.tcpsi_ini.insi_vflag) == (0x5000, 0xBB01, 2)


@pytest.mark.parametrize("machine", MACHINES)
def test_interface_and_packet(machine: str) -> None:
    found = decoded(machine, "interface", routes.if_msghdr2)
    assert (found.ifm_index, found.ifm_data.ifi_ibytes, found.ifm_data.ifi_baudrate) == (4, 5 * 10**9, 10**10)
    packet = decoded(machine, "packet", bpf.bpf_hdr)
    assert (packet.bh_tstamp.tv_sec, packet.bh_caplen, packet.bh_datalen, packet.bh_hdrlen) == (10, 60, 1500, 18)


@pytest.mark.parametrize("machine", MACHINES)
def test_memory(machine: str) -> None:
    found = decoded(machine, "submap", mach.vm_region_submap_info_64)
    assert (found.protection, found.offset, found.user_tag) == (5, 0x123456789AB, 9)
    assert (found.share_mode, found.object_id_full) == (1, 0xABCDEF0123)


@pytest.mark.parametrize("machine", MACHINES)
def test_routes_and_totals(machine: str) -> None:
    totals = golden(machine)["totals"][: ctypes.sizeof(routes.ifmibdata)]
    assert parse_totals(totals) == {"en0": (30_277_303_935, 5 * 10**9)}
    found = parse_route_table(golden(machine)["route"])
    assert found == {4: [Route("10.8.0.0/16", "192.168.1.1")]}
