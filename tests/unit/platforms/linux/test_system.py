"""What the host is, and the texts it is read from."""

import contextlib
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Unavailable
from hostscope.model.gap import Reason
from hostscope.platforms.linux import parse_host, system
from hostscope.platforms.linux.parse_host import parse_mounts, parse_os_release, unescape_octal

OS_RELEASE = rb"""# a comment
NAME=Fedora
PRETTY_NAME="Fedora Linux 40 \"Forty\" \$x"
VARIANT='It is $5'
EMPTY=
nonsense
  ID=fedora
"""


def test_os_release() -> None:
    assert parse_os_release(OS_RELEASE) == {
        "NAME": "Fedora",
        "PRETTY_NAME": 'Fedora Linux 40 "Forty" $x',
        "VARIANT": "It is $5",
        "EMPTY": "",
        "ID": "fedora",
    }


def test_mounts() -> None:
    raw = (
        rb"22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw,hidepid=invisible" + b"\n"
        rb"30 27 0:3 /a\040b /mnt/with\011tab\134 ro - ext4 /dev/sd\040a rw" + b"\n"
    )
    proc, other = parse_mounts(raw)
    assert (proc.root, proc.point, proc.type) == (b"/", b"/proc", b"proc")
    assert proc.options == (b"rw", b"relatime", b"rw", b"hidepid=invisible")
    assert (other.root, other.point, other.options) == (b"/a b", b"/mnt/with\ttab\\", (b"ro", b"rw"))


def test_a_carriage_return_in_a_name_ends_no_line() -> None:
    (mount,) = parse_mounts(b"30 27 0:50 / /home/u/a\rb rw,nosuid - fuse.sshfs sshfs rw\n")
    assert (mount.point, mount.type) == (b"/home/u/a\rb", b"fuse.sshfs")


@pytest.mark.parametrize("line", [b"short", b"1 2 3 4 5 6", b"1 2 0:1 / / - ext4", b"1 2 0:1 / /x rw -  x"])
def test_half_a_mount_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_mounts(line)


@given(st.binary())
def test_octal_escapes_are_reversed(raw: bytes) -> None:
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in raw)
    assert unescape_octal(escaped) == raw


@given(st.binary())
def test_parsers_survive_any_bytes(raw: bytes) -> None:
    parse_os_release(raw)
    for parse in (
        parse_host.parse_mounts,
        parse_host.parse_cpus,
        parse_host.parse_meminfo,
        parse_host.parse_loadavg,
        parse_host.parse_last_pid,
        parse_host.parse_pressure,
        parse_host.parse_disks,
        parse_host.parse_bracketed,
    ):
        with contextlib.suppress(ValueError, IndexError):
            parse(raw)


def test_the_second_os_release_stands_in(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "os-release").write_text("NAME=Only\n")
    monkeypatch.setattr(system, "OS_RELEASE", (str(tmp_path / "missing"), str(tmp_path / "os-release")))
    assert system.System().info().os_name == "Only"


def test_what_cannot_be_read_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "OS_RELEASE", ("/nowhere/os-release",))
    monkeypatch.setattr(system, "BOOT_ID", "/nowhere/boot_id")
    info = system.System().info()
    assert (info.os_name, info.boot_id) == (None, None)
    assert {gap.field: gap.reason for gap in info.gaps} == {
        "os_name": Reason.UNAVAILABLE,
        "boot_id": Reason.UNSUPPORTED,
    }


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_lines_for_the_log_need_somebody_who_takes_them(
    kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = str(tmp_path / "log")
    monkeypatch.setattr(system, "LOG", path)
    find_log = system.find_log.__wrapped__
    with pytest.raises(Unavailable, match=r"nobody takes lines.*No such file"):
        find_log()
    with socket.socket(socket.AF_UNIX, kind) as taker:
        taker.bind(path)
        if kind == socket.SOCK_STREAM:
            taker.listen()
        assert find_log() == path
    with pytest.raises(Unavailable, match=r"nobody takes lines.*refused"):
        find_log()
