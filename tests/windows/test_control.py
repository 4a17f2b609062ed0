"""Acts on real children: each is seen to have happened, and others are left alone."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from hostscope.errors import Gone, Mismatch, Unsupported, UsageError
from hostscope.model.request import ProcessRequest
from hostscope.platforms.windows.control import ENDED_BY_US, Control
from hostscope.platforms.windows.host import open_host
from hostscope.platforms.windows.native import handles, threads
from hostscope.platforms.windows.parse_context import register
from hostscope.platforms.windows.process_list import read_processes
from tests.windows.children import Child
from tests.windows.keys import key_of
from tests.windows.missing import unless_missing
from tests.windows.waiting import eventually

WAITER = "say(ready=True); wait()"
HEART = """
import time, threading
say(ready=True)
def beat():
    while True:
        sys.stdout.write("."); sys.stdout.flush(); time.sleep(0.01)
threading.Thread(target=beat, daemon=True).start()
wait()
"""
TWO_THREADS = """
import threading, time
threading.Thread(target=wait, daemon=True).start()
say(ready=True)
time.sleep(60)
"""


@pytest.fixture
def control() -> Control:
    return Control()


def suspensions(pid: int) -> list[int]:
    """How often each thread was suspended."""
    listed = next(one for one in read_processes() if one.pid == pid)
    found = []
    for entry in listed.thread_entries():
        with handles.opened_thread(entry.tid, handles.THREAD_QUERY_INFORMATION) as thread:
            found.append(threads.suspend_count(thread))
    return found


def test_forced_to_end(child: Callable[..., Child], control: Control) -> None:
    one = child(WAITER)
    key = key_of(one.pid)
    assert control.pin(key) == key
    assert not control.wait(key, 0)
    control.terminate(key, True)
    assert control.wait(key, 10)
    assert one.process.wait(60) == ENDED_BY_US
    with pytest.raises(Gone):
        control.terminate(key, True)


def test_what_has_no_windows_cannot_be_asked(child: Callable[..., Child], control: Control) -> None:
    one = child(WAITER)
    with pytest.raises(Unsupported, match="no windows"):
        control.terminate(key_of(one.pid), False)
    assert one.process.poll() is None


def test_another_process_of_that_pid_is_left_alone(child: Callable[..., Child], control: Control) -> None:
    one = child(WAITER)
    other = replace(key_of(one.pid), start=key_of(one.pid).start - 1)
    for act in (control.pin, control.suspend, control.resume):
        with pytest.raises(Mismatch):
            act(other)
    with pytest.raises(Mismatch):
        control.terminate(other, True)
    assert one.process.poll() is None
    assert control.wait(other, 0)


def test_a_suspended_heart_stops_beating(child: Callable[..., Child], control: Control) -> None:
    one = child(HEART)
    assert one.process.stdout
    key, beats = key_of(one.pid), one.process.stdout
    heard = [0]

    def count() -> None:
        while beats.read(1):
            heard[0] += 1

    listener = threading.Thread(target=count, daemon=True)
    listener.start()
    eventually(lambda: heard[0] > 3)
    control.suspend(key)
    assert set(suspensions(one.pid)) == {1}
    eventually(lambda: is_silent(heard))
    control.resume(key)
    assert set(suspensions(one.pid)) == {0}
    before = heard[0]
    eventually(lambda: heard[0] > before + 3)
    one.process.kill()
    listener.join()


def is_silent(heard: list[int]) -> bool:
    """Nothing for half a second, in which a heart beats thirty times."""
    before = heard[0]
    time.sleep(0.5)
    return heard[0] == before


def test_each_suspension_needs_a_resumption(child: Callable[..., Child], control: Control) -> None:
    one = child(WAITER)
    key = key_of(one.pid)
    control.suspend(key)
    control.suspend(key)
    control.resume(key)
    assert set(suspensions(one.pid)) == {1}
    control.resume(key)
    assert set(suspensions(one.pid)) == {0}


def test_registers_are_of_every_thread(child: Callable[..., Child], control: Control) -> None:
    one = child(TWO_THREADS)
    found = control.registers(key_of(one.pid))
    assert len(found) == 2
    for state in found:
        assert state.unread is None and len(state.registers) == 1232
        assert register(state.registers, "rip") and register(state.registers, "rsp")
        assert state.block and state.stopped_ns > 0
    assert set(suspensions(one.pid)) == {0}
    one.process.kill()


def test_frozen_for_a_block_whatever_happens_in_it(child: Callable[..., Child], control: Control) -> None:
    one = child(WAITER)
    key = key_of(one.pid)
    with pytest.raises(ValueError, match="inside"), control.freeze(key) as found:
        assert len(found) == 1 and found[0].registers
        assert min(suspensions(one.pid)) >= 1
        raise ValueError("inside")
    assert set(suspensions(one.pid)) == {0}


def test_a_snapshot_is_of_one_moment(child: Callable[..., Child], control: Control) -> None:
    one = child(WAITER)
    with unless_missing(), control.snapshot(key_of(one.pid)) as copy:
        assert copy.threads and copy.regions


def test_a_program_waits_for_its_release(control: Control) -> None:
    argv = (sys.executable, "-c", "import sys; sys.exit(int(sys.argv[1]))", "23")
    with control.spawn(argv) as started:
        assert set(suspensions(started.key.pid)) == {1}
        assert not control.wait(started.key, 0)
        started.release()
        assert started.wait() == 23
    with pytest.raises(UsageError), control.spawn(("nothing-of-this-name",)):
        pass


def test_a_program_without_release_ends_with_the_block(control: Control) -> None:
    with control.spawn((sys.executable, "-c", "pass")) as started:
        key = started.key
    assert control.wait(key, 10)


def test_who_a_child_is(child: Callable[..., Child], control: Control) -> None:
    one = child(WAITER)
    process = open_host().processes.read(one.pid, ProcessRequest(fields=frozenset({"exe", "owner", "session"})))
    identity = control.identify(process)
    assert identity.key == process.key and identity.permitted and identity.role is None


def test_the_command_kills_and_spares(child: Callable[..., Child]) -> None:
    one, other = child(WAITER), child(WAITER)
    command = [sys.executable, "-m", "hostscope", "kill", str(one.pid)]
    dry = subprocess.run(
        [*command, "--dry-run"], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True
    )
    assert b"ready" in dry.stdout and one.process.poll() is None
    done = subprocess.run([*command, "--yes"], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True)
    assert b"1 done" in done.stdout
    eventually(lambda: one.process.poll() == ENDED_BY_US)
    assert other.process.poll() is None


def test_the_command_does_not_end_itself_or_its_ancestors() -> None:
    command = [sys.executable, "-m", "hostscope", "kill", str(os.getpid()), "--yes"]
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    assert done.returncode == 7, done.stderr
    assert b"ancestor" in done.stderr and time.monotonic() > began


def test_hostscope_does_not_stop_itself(control: Control) -> None:
    """A thread that suspends itself never comes back: `dump python.exe` would hang."""
    ours = key_of(os.getpid())
    for act in (control.freeze, control.snapshot):
        with pytest.raises(Unsupported, match="hostscope itself"), act(ours):
            raise AssertionError("it stood still")
    with pytest.raises(Unsupported, match="hostscope itself"):
        control.registers(ours)
    with pytest.raises(Unsupported, match="hostscope itself"):
        control.write_dump(ours, 1)
