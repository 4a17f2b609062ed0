"""What a host's processes can be asked, on the real kernel: by whom, about whom, and from where."""

import os
import subprocess

import pytest

from hostscope.errors import Gone, Mismatch, UsageError
from hostscope.model.key import ProcessKey
from hostscope.model.request import BASIC, FULL, ProcessRequest
from hostscope.platforms.linux.method import METHODS
from hostscope.platforms.tally import Tally
from tests.zoo.creature import Creature
from tests.zoo.sight import Look, host, sweep
from tests.zoo.stage import ask

pytestmark = pytest.mark.system

PROC_OF_ITS_OWN = "mount -t proc proc /proc"


def read(pid: int) -> ProcessKey:
    return host().processes.read(pid, ProcessRequest(fields=BASIC, method="proc")).key


def ended() -> int:
    """A pid that was just given back."""
    with subprocess.Popen(["true"]) as child:
        child.wait()
    return child.pid


# Sweeps -------------------------------------------------------------------------------------------------------------


def test_the_tests_know_every_method() -> None:
    assert METHODS == ("iterator", "proc")


def test_an_unknown_method_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nonsense") as caught:
        list(host().processes.sweep(ProcessRequest(method="nonsense"), Tally()))
    assert caught.value.hint and all(name in caught.value.hint for name in METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_rows_ascend_and_are_unique(method: str) -> None:
    rows, coverage = sweep(method, BASIC)
    pids = [row.pid for row in rows]
    assert pids == sorted(set(pids))
    assert {os.getpid(), os.getppid()} <= set(pids)
    assert coverage.seen >= len(rows)
    assert set(coverage.not_asked) >= {"ancestry", "digest", "io"}


@pytest.mark.parametrize("method", METHODS)
def test_parents_are_there(method: str) -> None:
    """Of processes that outlive a sweep."""
    rows, _ = sweep(method, BASIC)
    pids = {row.pid for row in rows}
    mine = next(row for row in rows if row.pid == os.getpid())
    assert mine.ppid in pids
    assert {row.ppid for row in rows if row.ppid and row.kernel} <= pids


def test_without_a_wish_some_method_is_used_and_the_choice_explained() -> None:
    tally = Tally()
    rows = list(host().processes.sweep(ProcessRequest(fields=BASIC), tally))
    assert rows
    assert tally.method in METHODS
    if tally.method != "iterator":
        assert tally.method_reason


def test_keys_are_stable() -> None:
    first, second = ({row.key for row in sweep("proc", BASIC)[0]} for _ in range(2))
    assert len(first & second) > len(first) // 2
    assert read(os.getpid()) in first & second


@pytest.mark.root
def test_a_reused_pid_is_another_process() -> None:
    """Two lives of one number, told apart by their start."""
    with Creature() as child:
        key = read(child.pid)
    other = ProcessKey(key.boot_id, key.pid_ns, key.pid, key.start + 1)
    assert not key.same(other)


@pytest.mark.root
def test_an_empty_request_still_names_processes(look: Look) -> None:
    with Creature() as child:
        row = look(child.pid, frozenset())
        assert (row.name, row.ppid) == ("creature", os.getpid())
        assert row.key == read(child.pid)
        assert (row.exe, row.argv, row.owner, row.memory, row.session, row.gaps) == (None,) * 5 + ((),)


# One process --------------------------------------------------------------------------------------------------------


def test_reading_one() -> None:
    row = host().processes.read(os.getpid(), ProcessRequest(fields=FULL))
    assert (row.pid, row.ppid) == (os.getpid(), os.getppid())
    assert row.exe and row.argv and row.memory and row.io


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**31 - 1, 2**63])
def test_no_process_ever_has_such_a_number(pid: int) -> None:
    with pytest.raises(Gone):
        read(pid)


def test_one_that_ended() -> None:
    with pytest.raises(Gone):
        read(ended())


@pytest.mark.root
def test_a_zombie_can_be_read() -> None:
    with Creature() as child:
        row = host().processes.read(child.do("zombie"), ProcessRequest(fields=FULL))
        assert (row.state, row.exe) == ("zombie", None)


@pytest.mark.root
def test_a_thread_is_no_process() -> None:
    """/proc/TID can be entered though it is not listed; a row of it would be a process that does not exist."""
    with Creature() as child:
        child.do("threads", 1)
        (tid,) = (int(name) for name in os.listdir(f"/proc/{child.pid}/task") if int(name) != child.pid)
        with pytest.raises(Gone) as caught:
            read(tid)
        assert caught.value.hint == f"{tid} is a thread of process {child.pid}"


@pytest.mark.root
def test_detail_is_refused_for_another_life_of_the_pid() -> None:
    with Creature() as child:
        key = read(child.pid)
        assert host().processes.detail(key, frozenset({"threads"})).threads
        with pytest.raises(Mismatch):
            host().processes.detail(ProcessKey(key.boot_id, key.pid_ns, key.pid, key.start + 1), frozenset({"threads"}))
    with pytest.raises(Gone):
        host().processes.detail(key, frozenset({"threads"}))


# Inside -------------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_inside_a_container() -> None:
    """A PID namespace with a /proc of its own: nothing outside exists, and we are process 1."""
    with Creature() as outside:
        answer = ask(FULL, read=(outside.pid,), mount=PROC_OF_ITS_OWN, namespaces="--mount --pid --fork")
    assert answer.pid == 1
    row = answer.row(1)
    assert [row.pid for row in answer.rows] == [1]
    assert (row.ppid, row.kernel) == (0, False)
    assert row.exe and row.argv and row.memory and row.linux and row.linux.namespaces
    assert row.key.pid_ns == row.linux.namespaces.pid != os.stat("/proc/self/ns/pid").st_ino
    assert row.linux.inner_pid is None
    assert row.linux.namespaces.foreign == ()
    assert answer.reads[outside.pid]["error"] == "Gone"
    assert answer.coverage.complete
    assert answer.iterator["error"] == "Unsupported"
    assert "namespace" in answer.iterator["message"]


@pytest.mark.root
def test_inside_a_pid_namespace_with_the_hosts_proc() -> None:
    """/proc lists the host's processes there, under the host's numbers."""
    with Creature() as outside:
        answer = ask(BASIC, read=(outside.pid,), namespaces="--mount --pid --fork")
    assert answer.pid == 1
    assert answer.row(outside.pid).argv == ("creature",)
    assert answer.reads[outside.pid] == "read"


@pytest.mark.root
def test_inside_all_namespaces() -> None:
    everything = "--mount --pid --fork --net --uts --ipc --cgroup --time"
    answer = ask(FULL, mount=PROC_OF_ITS_OWN, namespaces=everything)
    row = answer.row(1)
    assert row.linux and row.linux.namespaces and row.linux.namespaces.foreign == ()
    assert row.state == "running"


@pytest.mark.root
def test_as_root_of_a_user_namespace() -> None:
    """Unmapped users are the overflow user there; capabilities of the namespace do not open other users' processes."""
    answer = ask(FULL, mount=PROC_OF_ITS_OWN, namespaces="--mount --pid --fork --user --map-root-user")
    row = answer.row(1)
    assert row.owner and row.owner.id == "0"
    assert row.security and row.security.granted == ()
    assert answer.iterator["error"] in ("Denied", "Unsupported")


@pytest.mark.root
def test_without_a_proc() -> None:
    """One clear error, not an empty answer."""
    with pytest.raises(AssertionError, match="Unavailable: /proc cannot be read"):
        ask(BASIC, mount="mount -t tmpfs none /proc")
