"""How names are resolved: files, and both services over a real dbus-daemon with stand-ins on it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostscope.model.dns import Resolver
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.resolvers import Resolvers, _read_inside
from hostscope.platforms.tally import Tally
from tests.system.private_bus import private_bus
from tests.system.test_containers import rootfs, runc
from tests.system.test_services import stream

pytestmark = pytest.mark.system

__all__ = ["rootfs", "runc"]

Start = Callable[..., None]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with private_bus(tmp_path) as address:
        yield address


@pytest.fixture
def start(address: str) -> Iterator[Start]:
    """Puts a stand-in on the bus."""
    children = []

    def start(kind: str, *options: str) -> None:
        script = Path(__file__).with_name("fake_resolvers.py")
        command = [sys.executable, str(script), address, kind, *options]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        children.append(child)
        assert stream(child.stdout).readline() == "ready\n"

    yield start
    for child in children:
        child.communicate(timeout=60)


def read(root: Path, address: str | None = None) -> tuple[list[Resolver], Tally]:
    tally = Tally()
    return list(Resolvers(str(root), address).resolvers(tally)), tally


def write(root: Path, text: str) -> None:
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/resolv.conf").write_text(text)


def test_the_file_of_the_c_library(tmp_path: Path) -> None:
    write(
        tmp_path, "nameserver 127.0.0.53\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions edns0 ndots:2\n"
    )
    (stub, scoped), tally = read(tmp_path)
    assert (stub.address, stub.port, stub.source, stub.stub) == ("127.0.0.53", 53, "resolv.conf", True)
    assert (stub.search, stub.options) == (("a.example", "b.example"), ("edns0", "ndots:2"))
    assert stub.path == str(tmp_path / "etc/resolv.conf")
    assert stub.net_ns == os.stat("/proc/self/ns/net").st_ino
    assert (scoped.address, scoped.interface, scoped.stub) == ("fe80::1%eth0", "eth0", False)
    assert tally.coverage().notes == ("there is no system bus: neither systemd-resolved nor NetworkManager was asked",)


def test_what_the_c_library_does_with_the_rest(tmp_path: Path) -> None:
    write(tmp_path, "".join(f"nameserver 192.0.2.{number}\n" for number in range(1, 6)) + "nameserver localhost\n")
    rows, tally = read(tmp_path)
    assert [row.address for row in rows] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    notes = " ".join(tally.coverage().notes)
    assert "never 192.0.2.4, 192.0.2.5" in notes and "no address: localhost" in notes


def test_without_a_file_the_local_machine_is_asked(tmp_path: Path) -> None:
    (row,), tally = read(tmp_path)
    assert (row.address, row.stub) == ("127.0.0.1", True)
    assert "there is no " in tally.coverage().notes[0]


def test_a_file_that_cannot_be_read_counts(tmp_path: Path) -> None:
    (tmp_path / "etc/resolv.conf").mkdir(parents=True)
    rows, tally = read(tmp_path)
    assert rows == [] and tally.coverage().failed == 1


def test_resolved_by_link(tmp_path: Path, address: str, start: Start) -> None:
    write(tmp_path, "nameserver 127.0.0.53\n")
    start("resolved")
    rows, tally = read(tmp_path, address)
    assert [row.source for row in rows] == ["resolv.conf"] + ["systemd-resolved"] * 5
    everywhere, secure, odd, gone, fallback = rows[1:]
    assert (everywhere.address, everywhere.interface, everywhere.port, everywhere.protocol) == (
        "192.0.2.1",
        None,
        53,
        "dns",
    )
    assert everywhere.current and everywhere.search == ("all.example",)
    assert everywhere.options == ("dnssec=allow-downgrade", "llmnr=no", "mdns=no")
    assert (secure.address, secure.interface, secure.port) == ("192.0.2.53", "lo", 853)
    assert (secure.protocol, secure.server_name) == ("dns-over-tls", "dns.example")
    assert (secure.search, secure.routes, secure.current) == (("corp.example",), (".",), False)
    assert secure.options == ("llmnr=yes", "default-route=yes")
    assert (odd.address, odd.port, odd.current) == ("2001:db8::53", 5300, True)
    assert (gone.address, gone.interface) == ("192.0.2.99", "index 424242")
    assert (fallback.address, fallback.fallback, fallback.current) == ("198.51.100.1", True, False)
    assert tally.coverage().method == "resolv.conf, systemd-resolved"


def test_resolved_before_246(tmp_path: Path, address: str, start: Start) -> None:
    write(tmp_path, "nameserver 127.0.0.53\n")
    start("resolved", "--old")
    rows, _ = read(tmp_path, address)
    assert [(row.address, row.interface) for row in rows[1:]] == [("192.0.2.1", None), ("192.0.2.53", "lo")]


def test_network_manager_by_priority(tmp_path: Path, address: str, start: Start) -> None:
    write(tmp_path, "nameserver 192.0.2.7\n")
    start("networkmanager")
    rows, _ = read(tmp_path, address)
    vpn, plain, secure = rows[1:]
    assert (vpn.address, vpn.interface, vpn.priority, vpn.options[-1]) == ("10.8.0.1", "tun0", 50, "vpn")
    assert (plain.address, plain.interface, plain.port) == ("192.0.2.7", "wlan0", 53)
    assert (plain.search, plain.routes) == (("home.example",), ("work.example",))
    assert plain.options == ("mode=systemd-resolved", "rc-manager=symlink")
    assert (secure.address, secure.protocol, secure.server_name) == ("192.0.2.8", "dns-over-tls", "dot.example")


def test_a_bus_without_either(tmp_path: Path, address: str) -> None:
    write(tmp_path, "nameserver 192.0.2.7\n")
    rows, tally = read(tmp_path, address)
    assert len(rows) == 1 and tally.coverage().notes == () and tally.coverage().complete


def test_a_service_that_refuses_is_said(tmp_path: Path, address: str, start: Start) -> None:
    write(tmp_path, "nameserver 192.0.2.7\n")
    start("resolved", "--refuse")
    rows, tally = read(tmp_path, address)
    assert len(rows) == 1 and tally.coverage().denied == 1
    assert tally.coverage().notes == ("systemd-resolved: GetAll: not you",)


def test_looking_through_a_process_follows_no_link(tmp_path: Path) -> None:
    """Our own root, which stands for a container's: its file is read; what a link or a pipe hides is not."""
    if Path("/etc/resolv.conf").is_symlink():
        with pytest.raises(OSError):
            _read_inside(os.getpid())
    else:
        assert _read_inside(os.getpid()) == Path("/etc/resolv.conf").read_bytes()


@pytest.mark.root
def test_files_of_containers(rootfs: Path, request: pytest.FixtureRequest) -> None:
    (rootfs / "etc/resolv.conf").write_text("nameserver 192.0.2.77\nsearch inside.example\n")
    pid: int = request.getfixturevalue("runc")
    tally = Tally()
    rows = [row for row in Resolvers(containers=Containers()).resolvers(tally) if row.container]
    mine = next(row for row in rows if row.address == "192.0.2.77")
    assert (mine.search, mine.path) == (("inside.example",), f"/proc/{pid}/root/etc/resolv.conf")
    assert mine.net_ns == os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino


@pytest.mark.root
def test_a_container_whose_file_is_a_link_is_said(rootfs: Path, request: pytest.FixtureRequest) -> None:
    (rootfs / "etc/resolv.conf").unlink(missing_ok=True)
    (rootfs / "etc/resolv.conf").symlink_to("/etc/passwd")
    request.getfixturevalue("runc")
    tally = Tally()
    rows = [row for row in Resolvers(containers=Containers()).resolvers(tally) if row.container]
    assert rows == [] and tally.coverage().failed == 1
    assert "/etc/resolv.conf: " in " ".join(tally.coverage().notes)


def test_the_host_answers() -> None:
    tally = Tally()
    rows = list(Resolvers(containers=Containers()).resolvers(tally))
    assert rows and rows[0].source == "resolv.conf"
