"""Children whose truth is known, by each method: who they are, what they may do, where they stand."""

import os
from pathlib import Path

import pytest

from hostscope.model.gap import Reason
from hostscope.platforms.linux.capabilities import CAPABILITY_NAMES, mask, names
from hostscope.platforms.linux.procfs import DUMPABLE_GAP
from tests.zoo.creature import Creature
from tests.zoo.sight import Look

pytestmark = [pytest.mark.system, pytest.mark.root]

NAMESPACE_FLAGS = {
    "cgroup": 0x0200_0000, "ipc": 0x0800_0000, "mnt": 0x0002_0000, "net": 0x4000_0000,
    "user": 0x1000_0000, "uts": 0x0400_0000,
}  # fmt: skip
"""CLONE_NEW* of namespaces(7) that move the caller itself."""
FOR_CHILDREN = {"pid": 0x2000_0000, "time": 0x80}
"""Those that take effect for children only."""


def namespace_truth(pid: int, name: str) -> int:
    """nsfs gives the inode by stat(2) too, which hostscope does not use."""
    return os.stat(f"/proc/{pid}/ns/{name}").st_ino


# Namespaces ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMESPACE_FLAGS)
def test_a_new_namespace_is_foreign(look: Look, name: str) -> None:
    with Creature() as child:
        child.do("unshare", NAMESPACE_FLAGS[name])
        linux = look(child.pid).linux
        assert linux and linux.namespaces
        assert getattr(linux.namespaces, name) == namespace_truth(child.pid, name) != namespace_truth(2, name)
        assert linux.namespaces.foreign == (name,)
        assert linux.inner_pid is None


@pytest.mark.parametrize("name", FOR_CHILDREN)
def test_a_namespace_of_children_is_foreign(look: Look, name: str) -> None:
    with Creature() as child:
        child.do("unshare", FOR_CHILDREN[name])
        outer = child.pid
        row = look(child.fork())
        assert row.linux and row.linux.namespaces
        assert row.ppid == outer
        assert getattr(row.linux.namespaces, name) == namespace_truth(child.pid, name)
        assert row.linux.namespaces.foreign == (name,)
        assert row.linux.inner_pid == (1 if name == "pid" else None)
        assert child.do("pid") == (1 if name == "pid" else child.pid)
        assert row.key.pid_ns == namespace_truth(os.getpid(), "pid")


def test_inner_pid_is_the_innermost(look: Look) -> None:
    with Creature() as child:
        child.do("unshare", FOR_CHILDREN["pid"])
        outer = child.fork()
        child.do("unshare", FOR_CHILDREN["pid"])
        assert child.do("fork") == 2
        children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        linux = look(int(children[0])).linux
        assert linux and linux.inner_pid == 1
        outer_row = look(outer).linux
        assert outer_row and outer_row.inner_pid == 1


def test_nothing_is_foreign_without_a_new_namespace(look: Look) -> None:
    with Creature() as child:
        linux = look(child.pid).linux
        assert linux and linux.namespaces and linux.namespaces.foreign == ()


def test_capabilities_of_a_user_namespace_grant_nothing_on_the_host(look: Look) -> None:
    with Creature() as child:
        child.do("unshare", NAMESPACE_FLAGS["user"])
        row = look(child.pid)
        assert row.linux and row.linux.capabilities and row.security
        assert "sys_admin" in row.linux.capabilities.effective
        assert row.security.granted == ()
        assert "user namespace" in row.security.confined_by


# Credentials --------------------------------------------------------------------------------------------------------


def test_all_capabilities_dropped_to_one(look: Look) -> None:
    with Creature() as child:
        only = mask(["net_raw"])
        child.do("caps", only, only, 0)
        row = look(child.pid)
        assert row.linux and row.linux.capabilities and row.security
        assert row.linux.capabilities.effective == row.linux.capabilities.permitted == ("net_raw",)
        assert row.linux.capabilities.inheritable == row.linux.capabilities.ambient == ()
        assert "net_bind_service" in row.linux.capabilities.bounding
        assert "raw_network" in row.security.granted
        assert not {"load_kernel_code", "administer_network", "reboot"} & set(row.security.granted)


def test_five_sets_are_told_apart(look: Look) -> None:
    with Creature() as child:
        for name in ("sys_boot", "syslog"):
            child.do("drop_bounding", CAPABILITY_NAMES.index(name))
        permitted, inheritable = mask(["chown", "kill", "net_raw"]), mask(["chown", "kill"])
        child.do("caps", mask(["net_raw"]), permitted, inheritable)
        child.do("ambient", CAPABILITY_NAMES.index("kill"))
        linux = look(child.pid).linux
        assert linux and linux.capabilities
        sets = linux.capabilities
        assert sets.effective == ("net_raw",)
        assert sets.permitted == names(permitted)
        assert sets.inheritable == names(inheritable)
        assert sets.ambient == ("kill",)
        assert not {"sys_boot", "syslog"} & set(sets.bounding) and "bpf" in sets.bounding


def test_eight_ids_all_different(look: Look) -> None:
    with Creature() as child:
        child.do("keep_caps")
        child.do("gids", 3001, 3002, 3003)
        child.do("fs_gid", 3004)
        child.do("groups", 10, 3001, 65534)
        child.do("uids", 2001, 2002, 2003)
        child.do("caps", mask(["setuid"]), mask(["setuid"]), 0)
        child.do("fs_uid", 2004)
        row = look(child.pid)
        assert row.ids and row.owner and row.groups and row.ids.fs_user and row.ids.fs_group
        users = (row.ids.user, row.ids.effective_user, row.ids.saved_user, row.ids.fs_user)
        groups = (row.ids.group, row.ids.effective_group, row.ids.saved_group, row.ids.fs_group)
        assert [user.id for user in users] == ["2001", "2002", "2003", "2004"]
        assert [group.id for group in groups] == ["3001", "3002", "3003", "3004"]
        assert row.owner.id == "2002"
        assert [group.id for group in row.groups] == ["10", "3001", "65534"]


def test_ids_have_the_names_of_the_account_database(look: Look) -> None:
    with Creature() as child:
        child.do("groups")
        row = look(child.pid)
        assert row.owner and (row.owner.id, row.owner.name) == ("0", "root")
        assert row.groups == ()


def test_a_number_without_an_account_has_no_name(look: Look) -> None:
    with Creature() as child:
        child.do("uids", 4_000_000_001, 4_000_000_001, 4_000_000_001)
        owner = look(child.pid).owner
        assert owner and (owner.id, owner.name) == ("4000000001", None)


def test_login_user_and_audit_session(look: Look) -> None:
    with Creature() as child:
        try:
            child.do("write_file", "/proc/self/loginuid", "4242")
        except OSError as failed:
            pytest.skip(f"this kernel does not let the login user be set: {failed}")
        linux = look(child.pid).linux
        assert linux and linux.login_uid == 4242
        assert linux.audit_session == int(Path(f"/proc/{child.pid}/sessionid").read_text())


# Confinement --------------------------------------------------------------------------------------------------------


def test_nothing_confines_a_plain_child(look: Look) -> None:
    with Creature() as child:
        linux = look(child.pid).linux
        assert linux and (linux.seccomp, linux.no_new_privs, linux.tracer_pid) == ("disabled", False, None)


def test_no_new_privs(look: Look) -> None:
    with Creature() as child:
        child.do("no_new_privs")
        row = look(child.pid)
        assert row.linux and row.linux.no_new_privs is True
        assert row.security and "no_new_privs" in row.security.confined_by


@pytest.mark.parametrize("mode", ["filter", "strict"])
def test_seccomp(look: Look, mode: str) -> None:
    with Creature() as child:
        child.do(mode)
        row = look(child.pid)
        assert row.linux and row.linux.seccomp == mode
        assert row.security and "seccomp" in row.security.confined_by


@pytest.mark.parametrize(("value", "name"), [(0, "no"), (1, "user")])
def test_dumpable(look: Look, value: int, name: str) -> None:
    with Creature() as child:
        child.do("dumpable", value)
        row = look(child.pid)
        assert row.linux and row.exe and row.argv == ("creature",)
        shown = [gap for gap in row.gaps if gap.field == "linux.dumpable"]
        if look.method == "proc":
            assert row.linux.dumpable is None
            assert [gap.reason for gap in shown] == [Reason.UNSUPPORTED]
        else:
            assert (row.linux.dumpable, shown) == (name, [])


# Places -------------------------------------------------------------------------------------------------------------


def test_working_directory(look: Look, tmp_path: Path) -> None:
    with Creature() as child:
        child.do("chdir", tmp_path)
        assert look(child.pid).cwd == str(tmp_path)


def test_deleted_working_directory(look: Look, tmp_path: Path) -> None:
    (place := tmp_path / "place").mkdir()
    with Creature() as child:
        child.do("chdir", place)
        place.rmdir()
        assert look(child.pid).cwd == f"{place} (deleted)"


def test_changed_root(look: Look, tmp_path: Path) -> None:
    with Creature() as child:
        child.do("chroot", tmp_path)
        row = look(child.pid)
        assert row.root == str(tmp_path)
        assert row.exe and row.exe.path == os.readlink(f"/proc/{child.pid}/exe")


@pytest.mark.parametrize("adjustment", [-500, 0, 1000])
def test_out_of_memory_adjustment(look: Look, adjustment: int) -> None:
    with Creature() as child:
        try:
            child.do("write_file", "/proc/self/oom_score_adj", str(adjustment))
        except PermissionError:
            pytest.skip("lowering oom_score_adj needs CAP_SYS_RESOURCE, which this machine withholds")
        linux = look(child.pid).linux
        assert linux and linux.oom_score_adj == adjustment
        assert linux.oom_score is not None


def test_a_readable_process_has_no_gaps(look: Look) -> None:
    with Creature() as child:
        assert look(child.pid).gaps == (() if look.method == "iterator" else (DUMPABLE_GAP,))
