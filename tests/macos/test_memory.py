"""Address spaces, suspension, copies and signals, on the scripted system."""

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hostscope.errors import Denied, Gone, Mismatch, Unavailable, Unsupported
from hostscope.model.gap import Reason
from hostscope.model.key import ProcessKey
from hostscope.platforms.macos import signalling, stopping, tasks
from hostscope.platforms.macos.clock import Boot, read_boot
from hostscope.platforms.macos.memory import Memory
from hostscope.platforms.macos.native import errnos, libproc, sip
from hostscope.platforms.macos.process_list import read_key
from tests.macos.scripted import GET_TASK_ALLOW, PLATFORM, RESTRICT, RUNTIME, VALID, Darwin
from tests.macos.scripted_mach import (
    CORPSE,
    EXECUTE,
    KERN_FAILURE,
    MACH_SEND_INVALID_DEST,
    NONE,
    PAGE,
    QUERY,
    READ,
    READING,
    REGION,
    SHARED,
    TASK_FOR_PID,
    TASK_READ,
    Mach,
)

PID = 4242
BASE = 0x1_0000_0000


@pytest.fixture
def mach(darwin: Darwin) -> Mach:
    darwin.add(PID, path=b"/usr/local/bin/target", comm=b"target")
    return Mach(darwin)


@pytest.fixture
def boot(mach: Mach) -> Boot:
    return read_boot()


@pytest.fixture
def key(boot: Boot) -> ProcessKey:
    return read_key(boot, PID)


def test_regions_are_read_with_submaps_entered(mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.region(PID, BASE, bytes(2 * PAGE), READ | EXECUTE)
    mach.region(PID, 0x7F00_0000_0000, 4 * PAGE, submap=1)
    mach.region(PID, 0x7F00_0000_0000, bytes(PAGE), READ, depth=1, share=SHARED)
    mach.region(PID, 0x7F00_0001_0000, 3 * PAGE, NONE, depth=1, tag=31)
    found = Memory(boot).regions(key, False)
    assert [(region.start, region.permissions, region.path) for region in found] == [
        (BASE, "r-xp", None),
        (0x7F00_0000_0000, "r--s", None),
        (0x7F00_0001_0000, "---p", "[guard]"),
    ]
    assert found[0].resident_bytes == 2 * PAGE
    assert mach.released == 1


def test_a_file_whose_name_may_not_be_asked_is_a_gap(darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.region(PID, BASE, bytes(PAGE), READ | EXECUTE, pager=1)
    mach.region(PID, BASE + PAGE, bytes(PAGE))
    darwin.fail("PIDINFO", errnos.EPERM, detail=libproc.PROC_PIDREGIONPATHINFO)
    found = Memory(boot).regions(key, False)
    assert [(region.path, [(gap.field, gap.reason) for gap in region.gaps]) for region in found] == [
        (None, [("path", Reason.DENIED)]),
        (None, []),
    ]


def test_reading_stops_at_the_first_page_that_cannot_be_read(mach: Mach, boot: Boot, key: ProcessKey) -> None:
    content = bytes(range(256)) * (3 * PAGE // 256)
    mach.region(PID, BASE, content)
    mach.region(PID, BASE + 3 * PAGE, 2 * PAGE, NONE)
    with Memory(boot).open(key) as space:
        assert space.read_bytes(BASE + 7, 100) == content[7:107]
        assert space.read_bytes(BASE + PAGE + 5, 4 * PAGE) == content[PAGE + 5 :]
        assert space.read_bytes(BASE - PAGE, PAGE) == b""
        assert "mach_vm_read_overwrite" in space.method
        space.check()


def test_untouched_pages_are_left_out(mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.region(PID, BASE, bytes(4 * PAGE), pages=b"\1\0\0\1")
    memory = Memory(boot)
    (region,) = memory.regions(key, False)
    with memory.open(key) as space:
        assert list(space.resident(region)) == [(BASE, BASE + PAGE), (BASE + 3 * PAGE, BASE + 4 * PAGE)]


def test_every_page_is_read_where_the_kernel_does_not_tell(
    darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey
) -> None:
    mach.region(PID, BASE, bytes(2 * PAGE), pages=b"\0\0")
    darwin.fail("MACH", KERN_FAILURE, PID, QUERY)
    memory = Memory(boot)
    (region,) = memory.regions(key, False)
    with memory.open(key) as space:
        assert list(space.resident(region)) == [(BASE, BASE + 2 * PAGE)]


def test_device_memory_is_not_read(mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.region(PID, BASE, bytes(PAGE), tag=21)
    memory = Memory(boot)
    (region,) = memory.regions(key, False)
    assert region.special
    with memory.open(key) as space:
        assert list(space.resident(region)) == []


def test_another_start_is_another_process(mach: Mach, boot: Boot, key: ProcessKey) -> None:
    other = ProcessKey(key.boot_id, 0, PID, key.start + 1)
    with pytest.raises(Mismatch):
        Memory(boot).regions(other, False)
    assert mach.released == 0


def test_a_process_that_ends_while_it_is_opened_is_gone(darwin: Darwin, boot: Boot, key: ProcessKey) -> None:
    darwin.kill(PID)
    with pytest.raises(Gone):
        Memory(boot).regions(key, False)


def test_a_process_that_ends_just_before_its_task_is_asked_for_is_gone(
    darwin: Darwin, boot: Boot, key: ProcessKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses then as it refuses everything else."""
    asked = tasks._port

    def too_late(pid: int, to_read: bool) -> int:
        darwin.kill(pid)
        return asked(pid, to_read)

    monkeypatch.setattr(tasks, "_port", too_late)
    with pytest.raises(Gone):
        Memory(boot).regions(key, False)


@pytest.mark.parametrize("detail", [REGION, READING])
def test_a_task_that_has_ended_is_gone(darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey, detail: int) -> None:
    mach.region(PID, BASE, bytes(PAGE))
    darwin.fail("MACH", MACH_SEND_INVALID_DEST, PID, detail)
    memory = Memory(boot)
    with pytest.raises(Gone), memory.open(key) as space:
        memory.regions(key, False)
        space.read_bytes(BASE, 8)


REFUSALS = {
    "sip": ({"csflags": VALID | PLATFORM}, 0, "System Integrity Protection", "csrutil"),
    "restricted": ({"csflags": VALID | RESTRICT}, 0, "restricted", "csrutil"),
    "hardened": ({"csflags": VALID | RUNTIME}, 0, "hardened runtime", "cs.debugger"),
    "platform without sip": (
        {"csflags": VALID | PLATFORM | GET_TASK_ALLOW},
        sip.CSR_ALLOW_TASK_FOR_PID,
        "no right",
        "",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_why_and_what_helps(
    darwin: Darwin, boot: Boot, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields, config, told, hint = REFUSALS[name]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    darwin.add(77, **fields)
    darwin.protection(config)
    darwin.fail("TASK_FOR_PID", KERN_FAILURE, 77)
    with pytest.raises(Denied, match=told) as refused:
        Memory(boot).regions(read_key(boot, 77), False)
    assert hint in (refused.value.hint or "")


def test_without_root_the_hint_is_root(darwin: Darwin, boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 501)
    darwin.add(78, csflags=VALID)
    darwin.fail("TASK_FOR_PID", KERN_FAILURE, 78)
    with pytest.raises(Denied) as refused:
        Memory(boot).regions(read_key(boot, 78), False)
    assert "needs root" in (refused.value.hint or "")


def test_looking_takes_a_right_that_can_only_look(darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.region(PID, BASE, bytes(PAGE))
    Memory(boot).regions(key, False)
    assert darwin.calls("TASK_FOR_PID", TASK_READ) == 1
    assert darwin.calls("TASK_FOR_PID", TASK_FOR_PID) == 0


def test_an_older_macos_has_rights_to_everything_only(
    darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object) -> int:
        raise Unsupported("no task_read_for_pid here")

    monkeypatch.setattr(tasks.mach.mach, "task_read_for_pid", missing, raising=False)
    mach.region(PID, BASE, bytes(PAGE))
    assert len(Memory(boot).regions(key, False)) == 1
    assert darwin.calls("TASK_FOR_PID", TASK_FOR_PID) == 1


# Standing still -------------------------------------------------------------------------------------------------------

STATE = bytes(range(256)) + bytes(16)


def test_freezing_is_taken_back_whatever_happens(mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.thread(PID, 900, STATE)
    with pytest.raises(ZeroDivisionError), stopping.freeze(boot, key) as threads:
        assert mach.suspended == 1
        assert [(thread.tid, thread.name, thread.registers, thread.state) for thread in threads] == [
            (900, "main", STATE, "sleeping")
        ]
        1 / 0  # noqa: B018
    assert mach.suspended == 0


def test_registers_are_of_every_thread(mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.thread(PID, 900, STATE)
    mach.thread(PID, 901, STATE[::-1], b"worker")
    found = stopping.registers(boot, key)
    assert [(thread.tid, thread.registers) for thread in found] == [(900, STATE), (901, STATE[::-1])]
    assert all(thread.stopped_ns > 0 for thread in found)
    assert mach.suspended == 0


def test_a_thread_that_ends_has_no_registers(darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.thread(PID, 900, STATE)
    darwin.fail("MACH", MACH_SEND_INVALID_DEST, detail=9)
    (thread,) = stopping.registers(boot, key)
    assert thread.registers == b""
    assert "ended" in (thread.unread or "")


def test_a_copy_is_read_instead_of_the_process(darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.region(PID, BASE, b"x" * PAGE)
    mach.thread(PID, 900, STATE)
    with stopping.snapshot(boot, Memory(boot), key) as copy:
        assert [region.start for region in copy.regions] == [BASE]
        assert copy.space.read_bytes(BASE, 4) == b"xxxx"
        assert [thread.registers for thread in copy.threads] == [STATE]
    assert darwin.calls("TASK_FOR_PID", TASK_FOR_PID) == 0
    assert mach.suspended == 0


def test_no_copy_is_unsupported(darwin: Darwin, boot: Boot, key: ProcessKey) -> None:
    darwin.fail("MACH", KERN_FAILURE, PID, CORPSE)
    with pytest.raises(Unsupported, match="no copy"), stopping.snapshot(boot, Memory(boot), key):
        pass


def test_a_program_whose_file_became_a_fifo_is_not_waited_for(darwin: Darwin, boot: Boot, tmp_path: Path) -> None:
    program = tmp_path / "program"
    os.mkfifo(program)
    darwin.add(79, path=bytes(program))
    with pytest.raises(Unavailable, match="no regular file"), Memory(boot).executable(read_key(boot, 79)):
        pass
    program.unlink()
    program.write_bytes(b"image")
    with Memory(boot).executable(read_key(boot, 79)) as file:
        assert file.read() == b"image"


# Signals --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What kill(2) is called with: on this host the pids are somebody else's."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(signalling.os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def test_signals_go_by_audit_token(mach: Mach, boot: Boot, key: ProcessKey, kills: list[Any]) -> None:
    for number in (signalling.TERMINATE, signalling.STOP, signalling.CONTINUE, signalling.KILL):
        signalling.send(boot, key, number)
    assert mach.signals() == [15, 17, 19, 9]
    assert kills == []


def test_a_token_that_the_kernel_does_not_know_any_more_is_gone(
    darwin: Darwin, boot: Boot, key: ProcessKey, kills: list[Any]
) -> None:
    darwin.fail("SIGNAL", errnos.ESRCH, PID)
    with pytest.raises(Gone):
        signalling.send(boot, key, 15)
    assert kills == []


def test_a_refused_signal_is_denied(darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey, kills: list[Any]) -> None:
    darwin.fail("SIGNAL", errnos.EPERM, PID)
    with pytest.raises(Denied):
        signalling.send(boot, key, 15)
    assert (mach.signals(), kills) == ([], [])


def test_without_tokens_the_start_is_compared_first(
    darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey, kills: list[Any]
) -> None:
    darwin.fail("TASK_FOR_PID", KERN_FAILURE, PID)
    signalling.send(boot, key, 15)
    assert (mach.signals(), kills) == ([], [(PID, 15)])


@pytest.mark.parametrize("tokens", [True, False])
def test_another_process_gets_no_signal(
    darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey, kills: list[Any], tokens: bool
) -> None:
    if not tokens:
        darwin.fail("TASK_FOR_PID", KERN_FAILURE, PID)
    with pytest.raises(Mismatch):
        signalling.send(boot, ProcessKey(key.boot_id, 0, PID, key.start - 1), 9)
    assert (mach.signals(), kills) == ([], [])


@pytest.mark.parametrize("pid", [0, -1, -77])
def test_no_group_gets_a_signal(
    darwin: Darwin, mach: Mach, boot: Boot, key: ProcessKey, kills: list[Any], pid: int
) -> None:
    """The kernel's process is in the table with pid 0, which to kill(2) is our own group; -1 is everybody."""
    darwin.fail("TASK_FOR_PID", KERN_FAILURE)
    listed = boot.key(pid, 0)
    for send in (signalling.send, signalling.kill):
        with pytest.raises(Denied):
            send(boot, listed, 9)
    assert (signalling.may_signal(pid), mach.signals(), kills) == (False, [], [])


def test_threads_keep_no_rights(mach: Mach, boot: Boot, key: ProcessKey) -> None:
    mach.thread(PID, 900, STATE)
    before = mach.released
    with closing(_entered(boot, key)):
        pass
    assert mach.released - before == 2  # the thread's and the task's


def _entered(boot: Boot, key: ProcessKey) -> Any:
    def steps() -> Any:
        with stopping.freeze(boot, key):
            yield

    made = steps()
    next(made)
    return made
