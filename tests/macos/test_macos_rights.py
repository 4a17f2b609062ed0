"""Our own rights, abilities and files on a scripted Mac."""

import hashlib
from pathlib import Path

import pytest

from hostscope.audit import AuditTrail
from hostscope.errors import Denied, Gone, Unavailable
from hostscope.model.process import Executable
from hostscope.platforms.macos import abilities
from hostscope.platforms.macos.abilities import list_abilities
from hostscope.platforms.macos.clock import read_boot
from hostscope.platforms.macos.files import Files
from hostscope.platforms.macos.native import errnos
from hostscope.platforms.macos.privileges import ROOT, Privileges, SystemIdentity
from hostscope.session.local import OVERRIDE_FILE_PERMISSIONS
from tests.macos.scripted import Darwin
from tests.macos.test_processes import Nobody


class Someone:
    """A program that somebody started with root's rights."""

    def __init__(self, invoker: tuple[int, int] | None = (501, 20), stuck: bool = False) -> None:
        self.uid, self._invoker, self.stuck, self.final = 0, invoker, stuck, False

    def effective(self) -> int:
        return self.uid

    def invoker(self) -> tuple[int, int] | None:
        return self._invoker

    def become(self, uid: int) -> None:
        if self.stuck and uid == 0:
            raise PermissionError(1, "Operation not permitted")
        self.uid = uid

    def become_for_good(self, uid: int, gid: int) -> None:
        self.uid, self.final = uid, True


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit.jsonl")


def actions(trail: AuditTrail) -> list[tuple[str, str]]:
    return [(entry.action, entry.outcome) for entry in trail.entries()] if trail.path.exists() else []


def test_root_is_in_effect_in_blocks_only(trail: AuditTrail) -> None:
    someone = Someone()
    privileges = Privileges(trail, someone)
    privileges.lower_all()
    assert (someone.uid, privileges.held(), privileges.available((ROOT,))) == (501, (), (ROOT,))
    with privileges.using((ROOT,), "look"):
        assert privileges.held() == (ROOT,)
        with privileges.using((ROOT,), "look again"):
            pass
        assert someone.uid == 0  # the outer block is still open
    assert someone.uid == 501
    assert [action for action, _ in actions(trail)] == [
        "privilege.raise", "privilege.raise", "privilege.lower", "privilege.lower",
    ]  # fmt: skip


def test_writing_in_spite_of_permissions_takes_root(trail: AuditTrail) -> None:
    someone = Someone()
    privileges = Privileges(trail, someone)
    privileges.lower_all()
    with privileges.using(OVERRIDE_FILE_PERMISSIONS, "write an answer to its file"):
        assert someone.uid == 0
    assert someone.uid == 501


def test_root_comes_out_of_effect_when_the_block_fails(trail: AuditTrail) -> None:
    someone = Someone()
    privileges = Privileges(trail, someone)
    privileges.lower_all()
    with pytest.raises(ZeroDivisionError), privileges.using((ROOT,), "look"):
        raise ZeroDivisionError
    assert someone.uid == 501


def test_refused_rise_is_denied_and_written_down(trail: AuditTrail) -> None:
    privileges = Privileges(trail, Someone(stuck=True))
    privileges.lower_all()
    with pytest.raises(Denied), privileges.using((ROOT,), "look"):
        pass
    assert actions(trail) == [("privilege.raise", "failed: Operation not permitted")]


def test_without_root_nothing_happens(trail: AuditTrail) -> None:
    privileges = Privileges(trail, Nobody())
    privileges.lower_all()
    with privileges.using((ROOT,), "look"):
        assert privileges.held() == ()
    privileges.limit_to("capture")
    privileges.settle()
    assert actions(trail) == []
    with pytest.raises(KeyError), privileges.using(("net_raw",), "look"):
        pass


def test_capture_gives_root_up_for_good_once_it_is_open(trail: AuditTrail) -> None:
    someone = Someone()
    privileges = Privileges(trail, someone)
    privileges.limit_to("capture")
    with privileges.using((ROOT,), "open /dev/bpf"):
        pass
    privileges.settle()
    assert someone.final and privileges.available((ROOT,)) == ()
    assert actions(trail)[-1] == ("privilege.drop", "done")


def test_a_watch_keeps_root_for_its_look_ups(trail: AuditTrail) -> None:
    someone = Someone()
    privileges = Privileges(trail, someone)
    privileges.limit_to("watch")
    privileges.settle()
    assert not someone.final and privileges.available((ROOT,)) == (ROOT,)


def test_root_himself_has_nobody_to_become(trail: AuditTrail) -> None:
    someone = Someone(invoker=None)
    privileges = Privileges(trail, someone)
    privileges.limit_to("capture")
    privileges.settle()
    assert someone.uid == 0 and "nobody to become" in privileges.notes[0]


@pytest.mark.parametrize(
    ("environ", "invoker"),
    [
        ({"SUDO_UID": "501", "SUDO_GID": "20"}, (501, 20)),
        ({"SUDO_UID": "0", "SUDO_GID": "0"}, None),
        ({"SUDO_UID": "-2", "SUDO_GID": "20"}, None),
        ({"SUDO_UID": "4294967295", "SUDO_GID": "20"}, None),
        ({}, None),
    ],
)
def test_who_typed_sudo(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], invoker: tuple[int, int] | None
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert SystemIdentity(environ).invoker() == invoker


def test_abilities_are_tried(
    darwin: Darwin, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "bpf0"
    monkeypatch.setattr(abilities, "BPF_DEVICES", str(tmp_path / "bpf*"))
    found = {ability.name: ability for ability in list_abilities(False, trail)}
    assert found["processes"].available and not found["full_detail"].available
    assert "no /dev/bpf" in found["capture"].detail
    device.write_bytes(b"")
    found = {ability.name: ability for ability in list_abilities(True, trail)}
    assert found["capture"].available and found["full_detail"].available and found["acts"].available
    assert "shields" in found["protected_memory"].detail
    darwin.protection(1 << 2)
    assert {a.name: a.available for a in list_abilities(True, trail)}["protected_memory"]
    for ability in found.values():
        assert ability.available or ability.lost


def test_the_debuggers_entitlement(darwin: Darwin, trail: AuditTrail) -> None:
    import os

    xml = b"<plist><dict><key>com.apple.security.cs.debugger</key><true/></dict></plist>"
    darwin.add(os.getpid(), xml=xml)
    assert {a.name: a.available for a in list_abilities(False, trail)}["debugger_entitlement"]
    darwin.reset()
    darwin.add(os.getpid())
    missing = next(a for a in list_abilities(False, trail) if a.name == "debugger_entitlement")
    assert not missing.available and "codesign" in (missing.enable or "")


def test_digest_of_the_file_that_runs(
    darwin: Darwin, tmp_path: Path, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"content")
    program.chmod(0o4755)
    darwin.add(5, path=bytes(program))
    files, key = Files(Privileges(trail, Nobody())), read_boot().key(5, 1)
    with pytest.raises(Unavailable, match="replaced"):  # the kernel says inode 4711
        files.digest(key, Executable(str(program)))
    darwin.fail("PIDINFO", errnos.EPERM, detail=8)
    digest = files.digest(key, Executable(str(program)))
    assert (digest.sha256, digest.size_bytes) == (hashlib.sha256(b"content").hexdigest(), 7)
    assert digest.setuid is True and digest.setgid is False
    program.write_bytes(b"changed")
    assert files.digest(key, Executable(str(program))).sha256 == hashlib.sha256(b"changed").hexdigest()
    monkeypatch.setattr("hostscope.platforms.hashable.MOST_BYTES", 7)
    program.write_bytes(b"too large")
    with pytest.raises(Unavailable, match="9 bytes"):
        files.digest(key, Executable(str(program)))


def test_digest_of_what_is_no_file(darwin: Darwin, tmp_path: Path, trail: AuditTrail) -> None:
    files = Files(Privileges(trail, Nobody()))
    with pytest.raises(Gone):
        files.digest(read_boot().key(5, 1), Executable("/bin/x"))
    darwin.add(5, path=bytes(tmp_path))
    darwin.fail("PIDINFO", errnos.EPERM, detail=8)
    with pytest.raises((Unavailable, OSError)):
        files.digest(read_boot().key(5, 1), Executable(str(tmp_path)))
