"""systemd's D-Bus interface, over a real dbus-daemon with a stand-in for systemd on it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from jeepney import DBusAddress, HeaderFields, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

from hostscope.errors import Gone, Unavailable
from hostscope.model.event import CoverageChange, Event, Loss, ServiceChange
from hostscope.model.gap import Reason
from hostscope.platforms.linux.services import Services
from tests.system.private_bus import private_bus

pytestmark = pytest.mark.system


class FakeSystemd:
    """A stand-in that does what it is told, once it has done it."""

    def __init__(self, address: str, *options: str) -> None:
        script = Path(__file__).with_name("fake_systemd.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), address, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.expect("ready")

    def expect(self, line: str) -> None:
        assert stream(self.process.stdout).readline().strip() == line

    def __call__(self, *command: object) -> None:
        stream(self.process.stdin).write(json.dumps(command) + "\n")
        stream(self.process.stdin).flush()
        self.expect("done")

    def end(self) -> None:
        self.process.communicate(timeout=60)


def stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host that systemd started."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def address(root: Path) -> Iterator[str]:
    with private_bus(root) as address:
        yield address


@pytest.fixture
def systemd(address: str) -> Iterator[FakeSystemd]:
    fake = FakeSystemd(address)
    yield fake
    fake.end()


@pytest.fixture
def services(root: Path, address: str, systemd: FakeSystemd) -> Services:
    return Services(str(root), (address,))


def test_listing(services: Services) -> None:
    units = {unit.name: unit for unit in services.services()}
    assert set(units) == {"ssh.service", "getty@tty1.service", "-.slice"}
    ssh = units["ssh.service"]
    assert (ssh.type, ssh.description, ssh.state, ssh.substate) == ("service", "The ssh.service", "active", "running")
    assert (ssh.load, ssh.start_mode, ssh.path) == ("loaded", "enabled", "/lib/systemd/system/ssh.service")
    assert {(gap.field, gap.reason) for gap in ssh.gaps} == {
        ("main_pid", Reason.NOT_ASKED),
        ("slice", Reason.NOT_ASKED),
    }
    getty = units["getty@tty1.service"]
    assert (getty.start_mode, getty.path) == (None, "/lib/systemd/system/getty@.service")
    assert "start_mode" in {gap.field for gap in getty.gaps}


def test_one_unit(services: Services) -> None:
    ssh = services.service("ssh.service")
    assert (ssh.main_pid, ssh.slice, ssh.state, ssh.start_mode) == (4242, "system.slice", "active", "enabled")
    assert ssh.gaps == ()
    assert services.service("-.slice").main_pid is None


def test_unit_that_is_not_loaded(services: Services) -> None:
    off = services.service("off.service")
    assert (off.state, off.substate, off.start_mode) == ("inactive", "dead", "disabled")
    assert off.path == "/etc/systemd/system/off.service"
    tty9 = services.service("getty@tty9.service")
    assert (tty9.state, tty9.start_mode, tty9.path) == ("inactive", None, "/lib/systemd/system/getty@.service")


@pytest.mark.parametrize("name", ["nothing.service", "", "a/b.service", "../x.service", "ssh\n.service"])
def test_no_such_unit(services: Services, name: str) -> None:
    with pytest.raises(Gone):
        services.service(name)


def test_nobody_on_the_bus(root: Path, address: str) -> None:
    with pytest.raises(Unavailable, match="GetNameOwner"):
        list(Services(str(root), (address,)).services())


def test_second_address_when_the_first_does_not_answer(root: Path, address: str, systemd: FakeSystemd) -> None:
    services = Services(str(root), (f"unix:path={root}/nowhere", address))
    assert services.service("ssh.service").state == "active"


def test_no_bus(root: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        list(Services(str(root)).services())


class Watch:
    """A stream that is read as it is written."""

    def __init__(self, services: Services, interval_s: float = 0.05) -> None:
        self.stop = threading.Event()
        self._events = services.changes(self.stop, interval_s)
        self._seq = -1

    def next(self) -> Event:
        event = next(self._events)
        assert event.seq == self._seq + 1
        self._seq = event.seq
        return event

    def change(self, source: str = "dbus") -> tuple[str | None, str | None]:
        """State before and after of the next change."""
        event = self.next()
        assert (event.schema, event.source) == ("hostscope.service_change/1", source), event
        assert isinstance(event.body, ServiceChange)
        return (
            f"{event.body.before.name} {event.body.before.state}" if event.body.before else None,
            f"{event.body.after.name} {event.body.after.state}" if event.body.after else None,
        )

    def coverage(self, source: str, method: str) -> CoverageChange:
        event = self.next()
        assert isinstance(event.body, CoverageChange), event
        assert (event.source, event.body.coverage.method) == (source, method)
        return event.body

    def end(self) -> None:
        self.stop.set()
        assert list(self._events) == []


def test_changes(services: Services, systemd: FakeSystemd) -> None:
    watch = Watch(services)
    assert watch.coverage("dbus", "dbus").coverage.seen == 3
    systemd("set", "ssh.service", "deactivating", "stop-sigterm")
    systemd("set", "ssh.service", "failed", "failed")
    assert watch.change() == ("ssh.service active", "ssh.service deactivating")
    assert watch.change() == ("ssh.service deactivating", "ssh.service failed")
    systemd("new", "run-1.scope", "active", "running")
    assert watch.change() == (None, "run-1.scope active")
    systemd("set", "run-1.scope", "active", "abandoned")
    assert watch.change() == ("run-1.scope active", "run-1.scope active")
    systemd("remove", "run-1.scope")
    assert watch.change() == ("run-1.scope active", None)
    watch.end()


def test_main_process_comes_with_the_state(services: Services, systemd: FakeSystemd) -> None:
    watch = Watch(services)
    watch.next()
    systemd("set", "ssh.service", "activating", "start", 99)
    event = watch.next()
    assert isinstance(event.body, ServiceChange)
    assert event.body.after is not None
    assert (event.body.after.main_pid, event.body.after.state) == (99, "activating")
    watch.end()


def test_job_that_ends_shows_what_no_signal_did(services: Services, systemd: FakeSystemd) -> None:
    watch = Watch(services)
    watch.next()
    systemd("silent", "ssh.service", "inactive", "dead")
    systemd("job", "ssh.service")
    assert watch.change() == ("ssh.service active", "ssh.service inactive")
    systemd("job", "off.service")
    systemd("set", "ssh.service", "active", "running")
    assert watch.change() == ("ssh.service inactive", "ssh.service active")
    watch.end()


def test_same_state_is_no_change(services: Services, systemd: FakeSystemd) -> None:
    watch = Watch(services)
    watch.next()
    systemd("set", "ssh.service", "active", "running")
    systemd("new", "ssh.service", "active", "running")
    systemd("set", "-.slice", "failed", "failed")
    assert watch.change() == ("-.slice active", "-.slice failed")
    watch.end()


def test_signals_of_others_do_not_count(services: Services, systemd: FakeSystemd, address: str) -> None:
    watch = Watch(services)
    watch.next()
    with open_dbus_connection(address) as stranger:
        unit = DBusAddress("/org/freedesktop/systemd1/unit/ssh_2eservice", interface="org.freedesktop.DBus.Properties")
        body = ("org.freedesktop.systemd1.Unit", {"ActiveState": ("s", "failed")}, [])
        forged = new_signal(unit, "PropertiesChanged", "sa{sv}as", body)
        stranger.send(forged)
        for number in range(1, 6):
            forged = new_signal(unit, "PropertiesChanged", "sa{sv}as", body)
            forged.header.fields[HeaderFields.destination] = f":1.{number}"
            stranger.send(forged)
        stranger.send_and_get_reply(message_bus.GetId())
    systemd("set", "-.slice", "failed", "failed")
    assert watch.change() == ("-.slice active", "-.slice failed")
    watch.end()


def test_systemd_that_leaves_and_comes_back(services: Services, systemd: FakeSystemd) -> None:
    watch = Watch(services)
    watch.coverage("dbus", "dbus")
    systemd("release")
    systemd("silent", "ssh.service", "failed", "failed")
    event = watch.next()
    assert isinstance(event.body, Loss)
    assert event.body.events >= 1
    assert "left the bus" in event.body.reason
    reason = watch.coverage("polling", "control groups").coverage.method_reason
    assert reason is not None
    assert "GetNameOwner" in reason
    systemd("request")
    watch.coverage("dbus", "dbus")
    assert watch.change("polling") == ("ssh.service active", "ssh.service failed"), "what was hidden meanwhile"
    systemd("set", "ssh.service", "active", "running")
    assert watch.change() == ("ssh.service failed", "ssh.service active")
    watch.end()


def test_systemd_that_ends(services: Services, systemd: FakeSystemd, address: str) -> None:
    watch = Watch(services)
    watch.coverage("dbus", "dbus")
    systemd.end()
    assert isinstance(watch.next().body, Loss)
    watch.coverage("polling", "control groups")
    again = FakeSystemd(address)
    try:
        watch.coverage("dbus", "dbus")
        watch.end()
    finally:
        again.end()


def test_more_changes_than_can_be_asked_for_are_a_loss(
    services: Services, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostscope.platforms.linux.service_changes.MAX_ASKED", 3)
    watch = Watch(services)
    watch.coverage("dbus", "dbus")
    for number in range(4):
        systemd("new", f"run-{number}.scope", "active", "running")
    os.kill(systemd.process.pid, signal.SIGSTOP)  # It answers nothing now, so questions pile up.
    try:
        event = watch.next()
        assert isinstance(event.body, Loss)
        assert "more units changed" in event.body.reason
    finally:
        os.kill(systemd.process.pid, signal.SIGCONT)
    found = [watch.change("polling") for _ in range(4)]
    assert found == [(None, f"run-{number}.scope active") for number in range(4)], "told by the list after the loss"
    watch.end()


def test_polling_where_systemd_gives_no_signals(root: Path, address: str) -> None:
    fake = FakeSystemd(address, "--no-signals")
    try:
        watch = Watch(Services(str(root), (address,)))
        assert watch.coverage("polling", "polling").coverage.method_reason == "Subscribe: not you"
        fake("set", "ssh.service", "failed", "failed")
        assert watch.change("polling") == ("ssh.service active", "ssh.service failed")
        fake("remove", "ssh.service")
        assert watch.change("polling") == ("ssh.service failed", None)
        watch.end()
    finally:
        fake.end()


@pytest.mark.skipif(not Path("/run/systemd/system").is_dir(), reason="systemd is not the init of this host")
def test_this_host() -> None:
    units = {unit.name: unit for unit in Services().services()}
    told = subprocess.run(["systemctl", "is-active", "-.slice"], capture_output=True, text=True, check=True).stdout
    assert units["-.slice"].state == told.strip()


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd is the init of this host")
def test_this_host_without_systemd() -> None:
    for ask in (lambda: list(Services().services()), lambda: Services().changes(threading.Event(), 1)):
        with pytest.raises(Unavailable, match="not the init"):
            ask()
