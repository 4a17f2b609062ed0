"""The host's security state from files made for it."""

from pathlib import Path

import pytest

from hostscope.model.gap import Reason
from hostscope.model.security import HostSecurity
from hostscope.platforms.linux import security
from hostscope.platforms.linux.security import Paths, Security, proc_options, sees_everything

PROC = b"22 27 0:21 / /proc rw,relatime - proc proc rw%s\n"
STATUS = (
    b"Name:\tx\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t9\t9\t9\t9\nFDSize:\t64\nGroups:\t4 27 \nNStgid:\t5\nNSpid:\t5\n"
    b"CapInh:\t0\nCapPrm:\t%016x\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\nNoNewPrivs:\t0\nSeccomp:\t0\n"
    b"voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n"
)
FILES = {
    "sys/kernel/osrelease": "6.1.0",
    "sys/kernel/yama/ptrace_scope": "1",
    "sys/kernel/unprivileged_bpf_disabled": "2",
    "sys/kernel/modules_disabled": "0",
    "sys/net/ipv4/ip_unprivileged_port_start": "80",
    "fs/lsm": "lockdown,capability,yama,apparmor",
    "fs/lockdown": "none [integrity] confidentiality",
    "mountinfo": (PROC % b",hidepid=invisible").decode(),
    "status": (STATUS % 0).decode(),
}


class Place:
    """A host of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.removesuffix("\n") + "\n")

    def remove(self, *names: str) -> None:
        for name in names:
            (self.root / name).unlink()

    def state(self) -> HostSecurity:
        root = str(self.root)
        return Security(Paths(f"{root}/sys", f"{root}/fs", f"{root}/mountinfo", f"{root}/status")).state()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_everything(place: Place) -> None:
    assert place.state() == HostSecurity(
        yama=1,
        lockdown="integrity",
        lsms=("lockdown", "capability", "yama", "apparmor"),
        hidepid="invisible",
        unprivileged_bpf=False,
        module_loading=True,
        unprivileged_port_start=80,
    )


def test_an_absent_yama_is_no_gap(place: Place) -> None:
    place.remove("sys/kernel/yama/ptrace_scope")
    place.write("fs/lsm", "capability")
    state = place.state()
    assert (state.yama, state.lockdown, state.gaps) == (None, "none", ())


def test_an_active_yama_without_its_file_is_a_gap(place: Place) -> None:
    place.remove("sys/kernel/yama/ptrace_scope")
    assert [gap.field for gap in place.state().gaps] == ["yama"]


def test_without_securityfs_modules_come_by_call(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.remove("fs/lsm", "fs/lockdown")
    monkeypatch.setattr(security, "_lsms_by_call", lambda: ("capability", "lockdown"))
    state = place.state()
    assert (state.lsms, state.lockdown) == (("capability", "lockdown"), None)
    assert [(gap.field, gap.reason) for gap in state.gaps] == [("lockdown", Reason.UNAVAILABLE)]


def test_an_old_kernel_without_securityfs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.remove("fs/lsm", "fs/lockdown")
    monkeypatch.setattr(security, "_lsms_by_call", lambda: None)
    assert sorted(gap.field for gap in place.state().gaps) == ["lockdown", "lsms"]


def test_module_loading(place: Place) -> None:
    place.write("sys/kernel/modules_disabled", "1")
    assert place.state().module_loading is False
    place.remove("sys/kernel/modules_disabled")
    assert place.state().module_loading is False  # built without modules: the neighbours are there
    place.remove("sys/kernel/osrelease")
    state = place.state()
    assert state.module_loading is None
    assert [gap.field for gap in state.gaps] == ["module_loading"]


def test_nonsense_is_a_gap(place: Place) -> None:
    place.write("sys/kernel/unprivileged_bpf_disabled", "perhaps")
    place.write("fs/lockdown", "none")
    place.write("mountinfo", "nothing")
    state = place.state()
    assert (state.unprivileged_bpf, state.lockdown, state.hidepid) == (None, None, None)
    assert sorted(gap.field for gap in state.gaps) == ["hidepid", "lockdown", "unprivileged_bpf"]


def test_cap_sys_ptrace_sees_through_hidepid(place: Place) -> None:
    place.write("status", (STATUS % (1 << 19)).decode())
    assert place.state().hidepid is None


@pytest.mark.parametrize(
    ("options", "hidepid", "sees"),
    [
        (b"", "off", True),
        (b",hidepid=0", "off", True),
        (b",hidepid=2", "invisible", False),
        (b",hidepid=1,gid=27", "noaccess", True),
        (b",gid=27,hidepid=invisible", "invisible", True),
        (b",hidepid=ptraceable,gid=27", "ptraceable", False),
        (b",hidepid=4", "ptraceable", False),
        (b",hidepid=7", "7", False),
    ],
)
def test_hidepid_options(options: bytes, hidepid: str, sees: bool) -> None:
    found = proc_options(PROC % options)
    assert found["hidepid"] == hidepid
    assert sees_everything(found, STATUS % 0) is sees


def test_the_mount_on_top_counts() -> None:
    assert proc_options(PROC % b"" + PROC % b",hidepid=1")["hidepid"] == "noaccess"
    assert "subset" in proc_options(PROC % b",subset=pid")


def test_no_proc_mount_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a mount point"):
        proc_options(b"22 27 0:21 / /proc rw - tmpfs tmpfs rw\n")
