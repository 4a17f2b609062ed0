"""Commands as they are typed, on the scripted macOS: what stands above the platforms asks nothing that it has not."""

# Fixtures of another file are imports that arguments name again.
# ruff: noqa: F401, F811

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hostscope import platforms
from hostscope.cli.main import run
from hostscope.errors import Denied, HostError, Incomplete, Refused
from hostscope.platforms.macos import signalling
from hostscope.platforms.macos.host import open_host
from hostscope.platforms.macos.interfaces import TABLE, WHERE
from hostscope.platforms.macos.packet_device import PacketDevice
from tests.macos.scripted import PLATFORM, VALID, Darwin
from tests.macos.scripted_mach import Mach, Queues
from tests.macos.test_collectors import _frame
from tests.macos.test_network import LINKS, LOCAL, REMOTE, ROUTES, Devices, Kernel, devices, kernel, links, tap
from tests.unit.platforms.macos.network_bytes import bpf_packet, ntstat_update, pcb, pcblist, pktap_v1

LAUNCHD: dict[str, Any] = {
    "ppid": 0,
    "comm": b"launchd",
    "path": b"/sbin/launchd",
    "identity": b"com.apple.xpc.launchd",
}
CURL: dict[str, Any] = {"comm": b"curl", "path": b"/usr/bin/curl", "uid": 501}


class Typed(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Type = Callable[[str], Typed]


@pytest.fixture
def mach(darwin: Darwin) -> Mach:
    """Three processes and us, who look, on a Mac that says what it is."""
    made = Mach(darwin)
    darwin.add(0, ppid=0, comm=b"kernel_task", path=b"")
    darwin.add(1, csflags=VALID | PLATFORM, **LAUNCHD)
    darwin.add(100, argv=[b"curl", b"--password=hunter2"], **CURL)
    darwin.add(os.getpid(), comm=b"python")
    for name in ("kern.hostname", "kern.osrelease", "kern.osproductversion", "kern.osversion", "hw.model"):
        darwin.value(name, b"made-up\0")
    for name in ("hw.activecpu", "hw.memsize", "hw.pagesize"):
        darwin.value(name, (16384).to_bytes(8, "little"))
    darwin.numbers(WHERE, LINKS)
    darwin.numbers(TABLE, ROUTES)
    darwin.value("net.inet.tcp.pcblist_n", pcblist(pcb(LOCAL, REMOTE, generation=4, state=4)))
    darwin.value("net.inet.udp.pcblist_n", pcblist())
    return made


@pytest.fixture
def typed(mach: Mach, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Type:
    monkeypatch.setenv("HOSTSCOPE_AUDIT", str(tmp_path / "audit.jsonl"))
    monkeypatch.setattr(platforms, "open_host", lambda replay=None: open_host())

    def type_(line: str) -> Typed:
        code = run(line.split())
        found = capsys.readouterr()
        return Typed(code, found.out, found.err)

    return type_


def test_ps(typed: Type) -> None:
    found = typed("ps --format json")
    assert found.code == 0
    by_pid = {row["key"]["pid"]: row for row in found.document["rows"]}
    assert (by_pid[100]["name"], by_pid[100]["argv"]) == ("curl", ["curl", "--password=***"])
    assert by_pid[0]["kernel"] is True
    assert found.document["coverage"]["method"] == "libproc"


def test_tree_and_hidden(typed: Type) -> None:
    assert re.search(r"launchd\n.*├─ curl", typed("tree").out)
    assert (typed("hidden").code, "views libproc, sysctl, probe" in typed("hidden").out) == (0, True)


def test_inspect(typed: Type) -> None:
    out = typed("inspect 100").out
    for text in ("its parent is launchd", "arm64e", "hardened-runtime", "footprint", "confined by"):
        assert text in out
    assert "hunter2" not in out


@pytest.mark.parametrize(
    "line", ["net", "interfaces", "counters", "doctor", "containers", "verify 100", "ps --fields full"]
)
def test_what_looks(typed: Type, line: str) -> None:
    found = typed(f"{line} --format json")
    assert (found.code, "internal error" in found.err) == (0, False)
    assert found.document


def test_net_and_interfaces_say_what_the_kernel_says(typed: Type) -> None:
    (row,) = typed("net --format json").document["rows"]
    assert (row["state"], row["owners"]) == ("established", [])
    _, wireless, _ = typed("interfaces --format json").document["rows"]
    assert [route["destination"] for route in wireless["routes"]][:1] == ["0.0.0.0/0"]


@pytest.mark.parametrize("line", ["trace 100", "services"])
def test_what_there_is_not_says_why(typed: Type, line: str) -> None:
    """No launchctl on this host; nobody traces calls."""
    found = typed(line)
    assert (found.code, "internal error" in found.err) == (HostError.exit_code, False)
    assert "hint: " in found.err


def test_watch(typed: Type, darwin: Darwin) -> None:
    Queues(darwin)
    found = typed("watch --duration 0.2 --format ndjson")
    assert (found.code, json.loads(found.out.splitlines()[0])["type"]) == (0, "event")
    assert "kqueue" in found.out


def test_traffic(typed: Type, kernel: Kernel) -> None:
    kernel.updates = [ntstat_update(9, 2, 100, b"curl", LOCAL, REMOTE, (10, 4000, 5, 300))]
    found = typed("traffic --duration 0.2 --format json")
    assert (found.code, found.document["coverage"]["method"]) == (0, "ntstat")


def test_capture(
    typed: Type, kernel: Kernel, devices: Devices, tap: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = PacketDevice.begin

    def begun(device: PacketDevice, *asked: Any) -> None:
        begin(device, *asked)
        devices.give(bpf_packet(pktap_v1(1, 100, b"curl", b"en0", 2) + _frame(), int(time.time()), 1))

    monkeypatch.setattr(PacketDevice, "begin", begun)
    path = tmp_path / "out.pcapng"
    assert typed(f"capture --interface pktap --count 1 --output {path}").code == 0
    assert b"= curl[100]: curl --password=***" in path.read_bytes()


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What kill(2) of this host is asked for: nothing but whether a process may be signalled."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(signalling.os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def test_kill_goes_by_token(typed: Type, mach: Mach, kills: list[Any], darwin: Darwin) -> None:
    Queues(darwin)
    assert typed("kill 100 --dry-run").code == 0
    assert mach.signals() == []
    found = typed("kill 100 --yes --reason test --grace 0")
    assert (found.code, mach.signals()) == (Incomplete.exit_code, [9])  # the scripted one never ends
    assert {number for _, number in kills} == {0}


@pytest.mark.parametrize("target", ["1", "0"])
def test_what_the_system_depends_on_is_guarded(typed: Type, mach: Mach, kills: list[Any], target: str) -> None:
    found = typed(f"kill {target} --yes --reason test")
    assert found.code in (Refused.exit_code, Denied.exit_code)
    assert (mach.signals(), [one for one in kills if one[1]]) == ([], [])
