"""Rows from a /proc of the test's own making."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.model.request import BASIC, FULL
from hostscope.model.security import HostSecurity
from hostscope.platforms.linux import procfs
from hostscope.platforms.linux.clock import TICK_NS, Boot
from hostscope.platforms.linux.context import NAMESPACES, Contexts
from hostscope.platforms.linux.names import Terminals
from hostscope.platforms.linux.procfs import DUMPABLE_GAP, Ending, ProcRows, live_thread
from hostscope.platforms.linux.read import LIMIT, PATH_ONLY, list_pids
from hostscope.platforms.posix_accounts import Accounts
from hostscope.platforms.tally import Tally
from tests.descriptors import descriptors
from tests.unit.platforms.linux import samples

pytestmark = pytest.mark.system

BOOT = Boot("boot", 4026531836, 1_000_000_000)
PID = 77
STAT = samples.STAT_6_18.replace(b"26602 ", b"77 ")
ZOMBIE = samples.STAT_ZOMBIE.replace(b"14594 ", b"77 ")


class Proc:
    """A directory that looks like /proc with one process."""

    def __init__(self, path: Path) -> None:
        self.path = path / "proc"
        self.process = self.path / str(PID)
        (self.process / "ns").mkdir(parents=True)
        (self.process / "fd").mkdir()
        (self.process / "attr").mkdir()
        self.write(stat=STAT, status=samples.STATUS_6_18, cmdline=b"cat\0file\0", io=samples.IO, statm=b"747 439 0\n")
        self.write(loginuid=b"1000", sessionid=b"3", oom_score=b"666\n", oom_score_adj=b"-5\n")
        self.write(cgroup=b"0::/system.slice/ssh.service\n", smaps_rollup=samples.ROLLUP)
        self.link(exe="/bin/cat", cwd="/home", root="/")
        for number, name in enumerate(NAMESPACES):
            self.link(**{f"ns/{name}": f"{name}:[{4026531000 + number}]"})
        for number in range(4):
            (self.process / "fd" / str(number)).touch()

    def write(self, **files: bytes) -> None:
        for name, content in files.items():
            (self.process / name).write_bytes(content)

    def link(self, **links: str) -> None:
        for name, target in links.items():
            (self.process / name).unlink(missing_ok=True)
            (self.process / name).symlink_to(target)

    def remove(self, *names: str) -> None:
        for name in names:
            (self.process / name).unlink()


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """One process that lives."""
    return Proc(tmp_path)


@pytest.fixture
def fd(proc: Proc) -> Iterator[int]:
    """A descriptor of that /proc."""
    descriptor = os.open(proc.path, PATH_ONLY)
    yield descriptor
    os.close(descriptor)


def rows(wanted: frozenset[str] = FULL, labels: bool = False) -> ProcRows:
    return ProcRows(BOOT, Contexts(Accounts(), None, HostSecurity(), wanted), Terminals(), wanted, labels)


def gaps(row: Process) -> dict[str, Reason]:
    return {gap.field: gap.reason for gap in row.gaps if gap != DUMPABLE_GAP}


def test_every_field(fd: int) -> None:
    row = rows().read(fd, PID)
    assert (row.key, row.ppid, row.name) == (BOOT.key(PID, 279624), 26559, "head")
    assert (row.state, row.kernel, row.threads, row.cwd, row.root) == ("running", False, 4, "/home", "/")
    assert row.started_at_ns == 1_000_000_000 + 279624 * TICK_NS
    assert row.exe and row.exe.path == "/bin/cat"
    assert row.argv == ("cat", "file")
    assert row.owner and row.owner.id == "1001"
    assert row.groups and [group.id for group in row.groups] == ["4", "24", "1000"]
    assert row.session and (row.session.session, row.session.group) == (14501, 26558)
    assert row.schedule
    assert (row.schedule.policy, row.schedule.priority, row.schedule.nice, row.schedule.realtime_priority) == (
        "rr", 25, 5, 40,
    )  # fmt: skip
    assert row.cpu and (row.cpu.user_ns, row.cpu.system_ns) == (12 * TICK_NS, 34 * TICK_NS)
    assert (row.cpu.children_user_ns, row.cpu.children_system_ns) == (5 * TICK_NS, 6 * TICK_NS)
    assert row.memory and (row.memory.virtual_bytes, row.memory.resident_bytes) == (2998272, 1700 << 10)
    assert row.io and (row.io.read_bytes, row.io.written_bytes) == (4096, 8192)
    assert (row.io.read_call_bytes, row.io.written_call_bytes) == (8327, 42)
    assert row.activity and (row.activity.minor_faults, row.activity.major_faults) == (101, 3)
    assert (row.activity.voluntary_switches, row.activity.involuntary_switches) == (150, 545)
    assert row.service and row.service.name == "ssh.service"
    assert row.linux and (row.linux.login_uid, row.linux.audit_session) == (1000, 3)
    assert (row.linux.oom_score, row.linux.oom_score_adj) == (666, -5)
    assert row.linux.namespaces and row.linux.namespaces.cgroup == 4026531000
    assert gaps(row) == {}


@pytest.mark.parametrize("wanted", sorted(FULL))
def test_nothing_but_what_was_asked_for(fd: int, wanted: str) -> None:
    row = rows(frozenset({wanted})).read(fd, PID)
    groups = {
        "exe": row.exe, "argv": row.argv, "cwd": row.cwd, "root": row.root, "owner": row.owner, "groups": row.groups,
        "session": row.session, "threads": row.threads, "schedule": row.schedule, "cpu": row.cpu,
        "memory": row.memory, "io": row.io, "open_files": row.open_files, "activity": row.activity,
        "security": row.security,
    }  # fmt: skip
    assert {name for name, value in groups.items() if value is not None} == {wanted} & groups.keys()


def test_only_the_files_that_are_needed(proc: Proc, fd: int) -> None:
    for entry in proc.process.iterdir():
        if entry.is_file() and entry.name != "stat":
            entry.unlink()
    row = rows(frozenset({"state", "threads", "cpu", "schedule", "session"})).read(fd, PID)
    assert (row.threads, row.gaps) == (4, ())


def test_proportional_memory_on_request(fd: int) -> None:
    memory = rows(frozenset({"memory", "memory_detail"})).read(fd, PID).memory
    assert memory and memory.proportional_bytes == 150 << 10


def test_label(proc: Proc, fd: int) -> None:
    proc.write(**{"attr/current": b"docker-default (enforce)\n"})
    linux = rows(labels=True).read(fd, PID).linux
    assert linux and linux.lsm_label == "docker-default (enforce)"
    proc.write(**{"attr/current": b"_\0"})
    linux = rows(labels=True).read(fd, PID).linux
    assert linux and linux.lsm_label == "_"


# What is missing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("loginuid", "linux.login_uid"), ("sessionid", "linux.audit_session"),
        ("oom_score", "linux.oom_score"),
    ],
)  # fmt: skip
def test_a_file_that_the_kernel_does_not_have(proc: Proc, fd: int, name: str, field: str) -> None:
    proc.remove(name)
    row = rows().read(fd, PID)
    assert gaps(row) == {field: Reason.UNSUPPORTED}
    assert row.argv == ("cat", "file")


def test_a_namespace_that_the_kernel_does_not_have(proc: Proc, fd: int) -> None:
    proc.remove("ns/time", "ns/cgroup")
    linux = rows().read(fd, PID).linux
    assert linux and linux.namespaces
    assert (linux.namespaces.time, linux.namespaces.cgroup) == (None, None)
    assert "time" not in (linux.namespaces.foreign or ())


REFUSALS = {
    "exe": "exe", "cwd": "cwd", "root": "root", "io": "io", "cmdline": "argv", "fd": "open_files",
    "ns/cgroup": "linux.namespaces", "loginuid": "linux.login_uid",
}  # fmt: skip


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EIO])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_file_is_a_gap(fd: int, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    refuse(monkeypatch, name, code)
    row = rows().read(fd, PID)
    assert gaps(row) == {REFUSALS[name]: Reason.UNAVAILABLE if code == errno.EIO else Reason.DENIED}
    assert row.owner and row.name == "head"


@pytest.mark.parametrize("name", [*REFUSALS, "status"])
def test_an_end_while_reading_ends_the_row(fd: int, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    refuse(monkeypatch, name, errno.ESRCH)
    with pytest.raises(ProcessLookupError):
        rows().read(fd, PID)


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Lets every system call on one file of the process fail."""

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refused(path: str | bytes, *rest: Any, **more: Any) -> Any:
            if os.fsdecode(path) == name and "dir_fd" in more:
                raise OSError(code, os.strerror(code))
            return call(path, *rest, **more)

        return refused

    for function in ("open", "readlink", "stat"):
        monkeypatch.setattr(os, function, refusing(getattr(os, function)))


def test_more_arguments_than_are_kept(proc: Proc, fd: int) -> None:
    proc.write(cmdline=b"x" * (LIMIT + 10))
    row = rows().read(fd, PID)
    assert row.argv == ("x" * LIMIT,)
    assert gaps(row) == {"argv": Reason.TRUNCATED}


# Ends ---------------------------------------------------------------------------------------------------------------


def test_zombie(proc: Proc, fd: int) -> None:
    proc.write(stat=ZOMBIE, status=samples.STATUS_KERNEL_THREAD, cmdline=b"")
    proc.remove("exe", "cwd", "root", "ns/net", "ns/mnt", "ns/uts", "ns/ipc", "ns/cgroup", "ns/time")
    row = rows().read(fd, PID)
    assert (row.state, row.exe, row.argv, row.cwd, row.root, row.memory) == ("zombie", None, None, None, None, None)
    assert gaps(row) == {}
    assert row.owner and row.security


@pytest.mark.parametrize("lost", ["exe", "cwd", "root", "ns/net", "memory", "arguments"])
def test_what_every_living_process_has_is_looked_for_twice(
    proc: Proc, fd: int, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """It began to end while it was read: the second look sees a zombie."""
    if lost == "memory":
        proc.write(status=samples.STATUS_KERNEL_THREAD)
    elif lost == "arguments":
        proc.write(cmdline=b"", statm=b"0 0 0\n")
    else:
        proc.remove(lost)
    with pytest.raises(Ending):
        rows().read(fd, PID)
    looks: list[int] = []
    once = ProcRows._once

    def then_a_zombie(self: ProcRows, proc_fd: int, pid: int) -> Process:
        if looks:
            proc.write(stat=ZOMBIE)
        looks.append(pid)
        return once(self, proc_fd, pid)

    monkeypatch.setattr(ProcRows, "_once", then_a_zombie)
    row = rows().read(fd, PID)
    assert (looks, row.state, row.exe, row.argv, row.memory) == ([PID, PID], "zombie", None, None, None)


def test_no_arguments_with_an_address_space(proc: Proc, fd: int) -> None:
    proc.write(cmdline=b"")
    assert rows().read(fd, PID).argv == ()


def test_a_thread_stands_in_for_a_leader_that_ended(proc: Proc, fd: int) -> None:
    ended = ZOMBIE.replace(b" 20 0 1 0 332211", b" 20 0 3 0 332211")
    proc.write(stat=ended, cmdline=b"")
    proc.remove("exe", "cwd", "root")
    dead, live = (proc.process / "task" / tid for tid in ("77", "78"))
    dead.mkdir(parents=True)
    (dead / "stat").write_bytes(ended)
    for name in ("status", "cgroup", "loginuid", "sessionid", "oom_score", "oom_score_adj", "ns", "fd"):
        live.mkdir(exist_ok=True)
        (live / name).symlink_to(proc.process / name)
    (live / "stat").write_bytes(STAT)
    (live / "cmdline").write_bytes(b"still\0here\0")
    for name, target in (("exe", "/bin/cat"), ("cwd", "/home"), ("root", "/")):
        (live / name).symlink_to(target)
    row = rows().read(fd, PID)
    assert (row.key.pid, row.key.start, row.state, row.threads) == (PID, 332211, "zombie", 3)
    assert (row.argv, row.cwd) == (("still", "here"), "/home")
    assert row.exe and row.memory and row.io


def test_no_thread_lives(proc: Proc) -> None:
    (proc.process / "task" / "77").mkdir(parents=True)
    (proc.process / "task" / "77" / "stat").write_bytes(ZOMBIE)
    directory = os.open(proc.process, PATH_ONLY)
    before = descriptors()
    with live_thread(directory) as thread:
        assert thread is None
    assert descriptors() <= before
    os.close(directory)


# Sweeps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "counted"),
    [
        (errno.ENOENT, "vanished"), (errno.ESRCH, "vanished"), (errno.EACCES, "denied"), (errno.EPERM, "denied"),
        (errno.EIO, "failed"),
    ],
)  # fmt: skip
def test_one_failure_never_ends_a_sweep(monkeypatch: pytest.MonkeyPatch, code: int, counted: str) -> None:
    monkeypatch.setattr(procfs, "list_pids", lambda: [1, 2, 3])

    def read(self: ProcRows, proc: int, pid: int) -> Process:
        if pid == 2:
            raise OSError(code, os.strerror(code))
        return Process(BOOT.key(pid, 1), 0, "whole")

    monkeypatch.setattr(ProcRows, "read", read)
    tally = Tally()
    assert [row.pid for row in rows().sweep(tally)] == [1, 3]
    counts = {name: getattr(tally, name) for name in ("vanished", "denied", "failed")}
    assert counts == {"vanished": 0, "denied": 0, "failed": 0, counted: 1}
    assert tally.seen == 3
    assert bool(tally.notes) == (counted == "failed")


def test_nonsense_from_the_kernel_never_ends_a_sweep(fd: int, proc: Proc) -> None:
    proc.write(stat=b"nonsense")
    tally = Tally()
    assert rows()._try(fd, PID, tally) is None
    assert (tally.failed, len(tally.notes)) == (1, 1)
    assert str(PID) in tally.notes[0]


FILES = ("stat", "status", "cmdline", "io", "cgroup", "loginuid", "sessionid", "oom_score", "oom_score_adj")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), content=st.binary(max_size=300))
def test_any_content_of_any_file_is_a_row_or_a_count(proc: Proc, fd: int, name: str, content: bytes) -> None:
    original = (proc.process / name).read_bytes()
    proc.write(**{name: content})
    tally = Tally()
    row = rows()._try(fd, PID, tally)
    proc.write(**{name: original})
    assert (row is None) == bool(tally.failed)
    assert not (tally.denied or tally.vanished)


def test_without_a_control_group_nothing_is_said_of_container_and_service(proc: Proc, fd: int) -> None:
    proc.remove("cgroup")
    row = rows().read(fd, PID)
    assert (row.container, row.service) == (None, None)
    assert gaps(row) == dict.fromkeys(("linux.cgroup", "container", "service"), Reason.UNSUPPORTED)


def test_a_process_lives_on_when_a_thread_of_it_ends_while_it_is_read(
    proc: Proc, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below task/, /proc says ENOENT of files of a thread that ended; of a process's own, ESRCH."""
    once = ProcRows._once
    failures = [FileNotFoundError(errno.ENOENT, "")]

    def read(self: ProcRows, proc: int, pid: int) -> Process:
        if failures:
            raise failures.pop()
        return once(self, proc, pid)

    monkeypatch.setattr(ProcRows, "_once", read)
    assert rows().read(fd, PID).pid == PID


def test_threads_that_end_between_listing_and_reading_are_passed_over(proc: Proc) -> None:
    for tid in ("77", "78"):
        (proc.process / "task" / tid).mkdir(parents=True)
    (proc.process / "task" / "78" / "stat").write_bytes(STAT)  # 77 has none any more
    directory = os.open(proc.process, PATH_ONLY)
    with live_thread(directory) as thread:
        assert thread is not None and os.readlink(f"/proc/self/fd/{thread}").endswith("/78")
    os.close(directory)


def test_abandoned_sweeps_close_their_descriptors() -> None:
    before = descriptors()
    sweep = rows(BASIC).sweep(Tally())
    next(sweep)
    del sweep
    assert descriptors() <= before


def test_pids_ascend() -> None:
    pids = list_pids()
    assert pids == sorted(set(pids))
    assert os.getpid() in pids


def test_descriptors_of_kernels_before_6_2_are_listed(proc: Proc, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their directories have size 0."""
    monkeypatch.setattr(procfs, "_sizes_are_counts", lambda: False)
    assert rows(frozenset({"open_files"})).read(fd, PID).open_files == 4
