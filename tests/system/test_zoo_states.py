"""Children whose truth is known, by each method: states, schedules, consumption."""

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from tests.system.told_child import told_child
from tests.zoo.build import program
from tests.zoo.creature import Creature, kernel_state, until
from tests.zoo.sight import Look, host

pytestmark = [pytest.mark.system, pytest.mark.root]

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


# States -------------------------------------------------------------------------------------------------------------


def test_start(look: Look) -> None:
    before = time.time_ns()
    with Creature() as child:
        after = time.time_ns()
        started = look(child.pid).started_at_ns
        assert started and before - 2 * TICK_NS <= started <= after + TICK_NS


def test_stopped(look: Look) -> None:
    with Creature() as child:
        os.kill(child.pid, signal.SIGSTOP)
        until(lambda: kernel_state(child.pid) == "T", "stopped")
        assert look(child.pid).state == "stopped"


def test_traced(look: Look) -> None:
    with Creature() as child, Creature() as tracer:  # in this order: the dead wait for their tracer
        tracer.do("seize", child.pid)
        row = look(child.pid)
        assert row.linux and (row.state, row.linux.tracer_pid) == ("sleeping", tracer.pid)
        tracer.do("interrupt", child.pid)
        row = look(child.pid)
        assert row.linux and (row.state, row.linux.tracer_pid) == ("tracing-stop", tracer.pid)


def test_zombie(look: Look) -> None:
    with Creature(["creature", "ended"]) as child:
        row = look(child.do("zombie"))
        assert (row.state, row.ppid, row.name, row.kernel) == ("zombie", child.pid, "creature", False)
        assert (row.exe, row.argv, row.cwd, row.root, row.memory, row.open_files) == (None, None, None, None, None, 0)
        assert row.owner and row.owner.name == "root"
        assert row.linux and row.linux.capabilities and row.security
        assert {gap.field for gap in row.gaps} <= {"linux.dumpable"}


def test_leader_that_ended_before_its_threads(look: Look) -> None:
    """The process lives on in its threads, and so do its program and its arguments."""
    with Creature(["creature", "headless"]) as child:
        child.do("leave_threads")
        until(lambda: kernel_state(child.pid) == "Z", "leader ended")
        row = look(child.pid)
        assert (row.state, row.threads) == ("zombie", 2)
        assert row.argv == ("creature", "headless")
        assert row.exe and row.exe.path == str(program("creature"))
        assert row.cwd == str(Path.cwd())
        assert row.memory and row.memory.resident_bytes > 0
        assert row.open_files == 3


def test_a_hundred_threads(look: Look) -> None:
    with Creature() as child:
        child.do("threads", 100)
        assert look(child.pid).threads == 101


def test_kernel_threads(look: Look) -> None:
    row = look(2)
    assert (row.name, row.ppid, row.kernel) == ("kthreadd", 0, True)
    assert (row.exe, row.argv, row.cwd, row.root, row.memory, row.gaps) == (None,) * 5 + (look(2).gaps,)
    assert {gap.field for gap in row.gaps} <= {"linux.dumpable"}


def test_session_without_a_terminal(look: Look) -> None:
    with Creature() as child:
        session = look(child.pid).session
        assert session and (session.session, session.group) == (os.getsid(child.pid), os.getpgid(child.pid))


def test_session_with_a_terminal(look: Look) -> None:
    leader, follower = os.openpty()
    try:
        with Creature() as child:
            child.do("terminal", os.ttyname(follower))
            session = look(child.pid).session
            assert session and (session.session, session.group) == (child.pid, child.pid)
            assert f"/dev/{session.terminal}" == os.ttyname(follower)
    finally:
        os.close(leader)
        os.close(follower)


# Schedules ----------------------------------------------------------------------------------------------------------


def test_nice(look: Look) -> None:
    with Creature() as child:
        child.do("nice", 5)
        schedule = look(child.pid).schedule
        assert schedule and (schedule.policy, schedule.nice, schedule.priority) == ("other", 5, 25)


@pytest.mark.parametrize(
    ("number", "priority", "name", "shown"),
    [(3, 0, "batch", 20), (5, 0, "idle", 20), (1, 7, "fifo", -8), (2, 99, "rr", -100)],
)
def test_policy(look: Look, number: int, priority: int, name: str, shown: int) -> None:
    with Creature() as child:
        try:
            child.do("policy", number, priority)
        except PermissionError:
            pytest.skip(
                f"SCHED_{name.upper()} is not allowed here (real-time group scheduling or a missing CAP_SYS_NICE)"
            )
        schedule = look(child.pid).schedule
        assert schedule and (schedule.policy, schedule.realtime_priority, schedule.priority) == (name, priority, shown)


# Consumption --------------------------------------------------------------------------------------------------------


def test_processor_time(look: Look) -> None:
    with Creature() as child:
        used_ns = child.do("burn", 200) * 1_000_000
        cpu = look(child.pid).cpu
        assert cpu and used_ns - 2 * TICK_NS <= cpu.user_ns + cpu.system_ns <= used_ns + 2 * TICK_NS
        assert (cpu.children_user_ns, cpu.children_system_ns, cpu.ratio) == (0, 0, None)


def test_processor_time_of_children_that_were_waited_for(look: Look) -> None:
    with Creature() as child:
        used_ns = child.do("employ", 150) * 1_000_000
        cpu = look(child.pid).cpu
        assert cpu and cpu.children_user_ns is not None and cpu.children_system_ns is not None
        spent_ns = cpu.children_user_ns + cpu.children_system_ns
        assert used_ns >= 150_000_000
        assert used_ns - 2 * TICK_NS <= spent_ns <= used_ns + 2 * TICK_NS
        assert cpu.user_ns + cpu.system_ns <= 5 * TICK_NS


def test_resident_memory(look: Look) -> None:
    with Creature() as child:
        before = look(child.pid).memory
        child.do("resident", 64)
        memory = look(child.pid).memory
        assert before and memory
        grown = memory.resident_bytes - before.resident_bytes
        assert 64 * MIB <= grown <= 65 * MIB
        assert 64 * MIB <= memory.virtual_bytes - before.virtual_bytes <= 66 * MIB
        assert memory.peak_resident_bytes and memory.peak_resident_bytes >= memory.resident_bytes
        assert memory.peak_virtual_bytes and memory.peak_virtual_bytes >= memory.virtual_bytes
        assert memory.shared_bytes is not None and memory.shared_bytes < 4 * MIB


def test_nothing_is_swapped_where_there_is_no_swap(look: Look) -> None:
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        pytest.skip("this machine has swap space")
    with Creature() as child:
        memory = look(child.pid).memory
        assert memory and memory.swap_bytes == 0


def test_page_faults(look: Look) -> None:
    with Creature() as child:
        child.do("resident", 8)
        activity = look(child.pid).activity
        assert activity and activity.minor_faults > 8
        assert activity.voluntary_switches and activity.involuntary_switches is not None


def test_proportional_and_unique_memory() -> None:
    """Only on request, and only /proc has it."""
    with Creature() as child:
        child.do("resident", 16)
        memory = Look("proc")(child.pid, frozenset({"memory", "memory_detail"})).memory
        assert memory and memory.proportional_bytes and memory.unique_bytes
        assert 16 * MIB <= memory.unique_bytes <= memory.proportional_bytes <= memory.resident_bytes + MIB


def test_input_and_output(look: Look, tmp_path: Path) -> None:
    with Creature() as child:
        child.do("store", tmp_path / "stored", 4 * MIB)
        io = look(child.pid).io
        assert io
        assert 4 * MIB <= io.written_call_bytes <= 4 * MIB + 65536
        assert 4 * MIB <= io.read_call_bytes <= 4 * MIB + 65536
        if os.statvfs(tmp_path).f_fsid == 0:
            pytest.skip("no storage below the test's directory: nothing is fetched from it")
        assert 4 * MIB <= io.written_bytes <= 5 * MIB
        assert 4 * MIB <= io.read_bytes <= 5 * MIB


def test_open_files(look: Look) -> None:
    with Creature() as child:
        assert look(child.pid).open_files == 3
        child.do("descriptors", 50)
        assert look(child.pid).open_files == 53


def test_a_waiting_accept_has_taken_its_descriptor(look: Look) -> None:
    waiting = "import socket, threading; told = (one := socket.create_server(('127.0.0.1', 0))).fileno()\n"
    with told_child(waiting + "threading.Thread(target=one.accept, daemon=True).start()") as (pid, _):
        shown = Path(f"/proc/{pid}/fd")
        if not shown.stat().st_size:
            pytest.skip("Linux before 6.2 does not count them here")
        until(lambda: shown.stat().st_size > len(os.listdir(shown)), "accepting")
        assert look(pid).open_files == len(os.listdir(shown)) + 1


def test_own_row(look: Look) -> None:
    row = look(os.getpid())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    assert (row.pid, row.ppid) == (os.getpid(), os.getppid())
    assert row.memory and row.memory.peak_resident_bytes and row.memory.peak_resident_bytes >= usage.ru_maxrss * 512
    assert row.key.pid_ns == os.stat("/proc/self/ns/pid").st_ino
    assert row.key.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert host().name == "linux"
