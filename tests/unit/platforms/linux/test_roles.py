"""Roles by file, user and unit: each of the three alone proves nothing."""

import os
from pathlib import Path
from typing import Any

import pytest

from hostscope.model.container import Container
from hostscope.model.process import Account, Executable, Process
from hostscope.model.response import Role
from hostscope.model.service import Service
from hostscope.platforms.linux import roles
from hostscope.platforms.linux.roles import KNOWN, Image, read_image, recognise
from tests.fake import process

TRUSTED = Image(0, 0o100755, True)
SSHD = {"exe": Executable("/usr/sbin/sshd", 1, 2), "service": Service("ssh.service", "systemd")}
BUS = Account("101", "messagebus")


@pytest.fixture(autouse=True)
def _systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "_has_service_manager", lambda: True)


def sshd(**fields: Any) -> Process:
    return process(700, "sshd", 1, **(SSHD | fields))


def test_the_ssh_server() -> None:
    role = recognise(sshd(), TRUSTED)
    assert role is not None
    assert (role.name, role.service, role.session) == ("ssh server", True, True)
    assert role.because == "runs /usr/sbin/sshd, which only root can write, as root, in ssh.service"


@pytest.mark.parametrize(
    "fields",
    [
        {"exe": Executable("/tmp/sshd", 1, 2)},
        {"exe": Executable("/home/eve/usr/sbin/sshd", 1, 2)},
        {"exe": Executable("/usr/sbin/sshd", 1, 2, memfd=True)},
        {"exe": None},
        {"owner": Account("1000", "eve")},
        {"owner": None},
        {"container": Container("docker", "c0ffee")},
    ],
)
def test_what_only_resembles_it(fields: dict[str, Any]) -> None:
    assert recognise(sshd(**fields), TRUSTED) is None


@pytest.mark.parametrize(
    "image", [None, Image(1000, 0o100755, True), Image(0, 0o100775, True), Image(0, 0o100757, True)]
)
def test_a_file_that_others_could_write(image: Image | None) -> None:
    assert recognise(sshd(), image) is None


def test_another_file_at_its_path_needs_the_unit_to_tell() -> None:
    """After an upgrade the running image has no name; in a foreign mount namespace the path means another file."""
    elsewhere = Image(0, 0o100755, False)
    assert recognise(sshd(), elsewhere) is not None
    assert recognise(sshd(service=None), elsewhere) is None
    assert recognise(sshd(service=Service("session-4.scope", "systemd")), elsewhere) is None


def test_a_unit_of_a_user_s_own_manager_does_not_tell() -> None:
    """Who bind-mounts a file of root's over it in a mount namespace of his own may move the process there as well."""
    path, own = "/usr/lib/systemd/systemd", Service("init.scope", "systemd --user", user=1000)
    manager = process(800, "systemd", 1, exe=Executable(path, 1, 2), service=own, owner=Account("1000", "eve"))
    assert recognise(manager, Image(0, 0o100755, False)) is None
    role = recognise(manager, TRUSTED)
    assert role is not None and role.name == "service manager of a user"


def test_the_same_program_in_another_unit_carries_sessions_but_is_no_service() -> None:
    for unit in ("cron.service", "session-4.scope"):
        role = recognise(sshd(service=Service(unit, "systemd")), TRUSTED)
        assert role is not None and (role.service, role.session) == (False, True)
    fake_unit = Service("ssh.service", "systemd --user", user=1000)
    role = recognise(sshd(service=fake_unit), TRUSTED)
    assert role is not None and not role.service, "units of users' managers prove nothing"


def test_without_a_service_manager_a_child_of_init_is_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recognise(sshd(service=None), TRUSTED) == Role(
        "ssh server", False, True, "runs /usr/sbin/sshd, which only root can write, as root"
    )
    monkeypatch.setattr(roles, "_has_service_manager", lambda: False)
    role = recognise(sshd(service=None), TRUSTED)
    assert role is not None and role.service
    role = recognise(process(701, "sshd", 700, exe=SSHD["exe"]), TRUSTED)
    assert role is not None and not role.service


@pytest.mark.parametrize(
    ("path", "unit", "user", "name"),
    [
        ("/usr/lib/systemd/systemd-journald", "systemd-journald.service", Account("0", "root"), "journal"),
        ("/lib/systemd/systemd-logind", "systemd-logind.service", Account("0", "root"), "login manager"),
        ("/usr/lib/systemd/systemd-udevd", "systemd-udevd.service", Account("0", "root"), "device manager"),
        ("/usr/bin/udevadm", "systemd-udevd.service", Account("0", "root"), "device manager"),
        ("/usr/bin/dbus-daemon", "dbus.service", BUS, "message bus"),
        ("/usr/bin/dbus-broker-launch", "dbus-broker.service", BUS, "message bus"),
        ("/usr/bin/dockerd", "docker.service", Account("0", "root"), "container runtime"),
        ("/usr/bin/containerd-shim-runc-v2", "containerd.service", Account("0", "root"), "container monitor"),
        ("/usr/bin/conmon", "libpod-conmon-1.scope", Account("1000", "eve"), "container monitor"),
        ("/usr/lib/xorg/Xorg", "session-2.scope", Account("1000", "eve"), "display server"),
        ("/usr/sbin/NetworkManager", "NetworkManager.service", Account("0", "root"), "network"),
        ("/usr/lib/systemd/systemd-resolved", "systemd-resolved.service", Account("102", "systemd-resolve"),
         "name resolution"),
        ("/usr/sbin/auditd", "auditd.service", Account("0", "root"), "audit"),
        ("/opt/CrowdStrike/falcon-sensor-bpf", "falcon-sensor.service", Account("0", "root"), "security agent"),
        ("/usr/lib/systemd/systemd", "init.scope", Account("0", "root"), "init system"),
    ],
)  # fmt: skip
def test_services_that_hosts_depend_on(path: str, unit: str, user: Account, name: str) -> None:
    service = process(700, "x", 1, exe=Executable(path, 1, 2), service=Service(unit, "systemd"), owner=user)
    role = recognise(service, TRUSTED)
    assert role is not None and (role.name, role.service) == (name, True)


def test_an_ordinary_program_has_no_role() -> None:
    service = Service("docker.service", "systemd")
    assert recognise(process(700, "sleep", 1, exe=Executable("/usr/bin/sleep", 1, 2), service=service), TRUSTED) is None


def test_paths_are_those_below_usr_and_the_root() -> None:
    for known in KNOWN:
        assert known.paths, known.role
        assert not [path for path in known.paths if path.startswith("/usr/") or not path.startswith("/")]


def test_a_multiplexer_is_a_session_and_no_service() -> None:
    role = recognise(process(700, "tmux: server", 1, exe=Executable("/usr/bin/tmux", 1, 2)), TRUSTED)
    assert role is not None and (role.service, role.session) == (False, True)


@pytest.mark.system
def test_the_image_is_the_running_file(tmp_path: Path) -> None:
    path = os.readlink("/proc/self/exe")
    image = read_image(os.getpid(), path)
    assert image == Image(os.stat(path).st_uid, os.stat(path).st_mode, True)
    (tmp_path / "other").touch()
    assert not read_image(os.getpid(), str(tmp_path / "other")).at_path
    assert not read_image(os.getpid(), str(tmp_path / "absent")).at_path
    with pytest.raises(OSError):
        read_image(2**22 + 1, path)
