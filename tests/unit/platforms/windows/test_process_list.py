"""The kernel's list of processes, and the identity of a boot."""

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Denied, NativeError, Unavailable
from hostscope.platforms.windows import clock, parse_processes
from hostscope.platforms.windows.native import machine, ntdll
from hostscope.platforms.windows.parse_processes import Counts, ThreadEntry
from hostscope.platforms.windows.process_list import read_processes
from tests.unit.platforms.windows.scripted import BOOTED, Program, System, Thread, listing, script, time_of_day

FIELDS = {
    "private_resident_bytes": "Reserved",
    "created": "CreateTime",
    "user_time": "UserTime",
    "kernel_time": "KernelTime",
    "base_priority": "BasePriority",
    "handles": "HandleCount",
    "private_bytes": "PrivatePageCount",
}
MEMORY = {
    "peak_virtual_bytes": "PeakVirtualSize",
    "virtual_bytes": "VirtualSize",
    "faults": "PageFaultCount",
    "peak_resident_bytes": "PeakWorkingSetSize",
    "resident_bytes": "WorkingSetSize",
    "peak_paged_pool_bytes": "QuotaPeakPagedPoolUsage",
    "paged_pool_bytes": "QuotaPagedPoolUsage",
    "peak_nonpaged_pool_bytes": "QuotaPeakNonPagedPoolUsage",
    "nonpaged_pool_bytes": "QuotaNonPagedPoolUsage",
    "commit_bytes": "PagefileUsage",
    "peak_commit_bytes": "PeakPagefileUsage",
}
IO = {
    "reads": "ReadOperationCount",
    "writes": "WriteOperationCount",
    "others": "OtherOperationCount",
    "read_bytes": "ReadTransferCount",
    "written_bytes": "WriteTransferCount",
    "other_bytes": "OtherTransferCount",
}


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    system = System()
    script(monkeypatch, ntdll.ntdll, NtQuerySystemInformation=system)
    return system


def test_entries_and_threads_are_as_long_as_their_structures() -> None:
    assert ctypes.sizeof(ntdll.SYSTEM_PROCESS_INFORMATION) == parse_processes.ENTRY_BYTES
    assert ctypes.sizeof(ntdll.SYSTEM_THREAD_INFORMATION) == parse_processes.THREAD_BYTES
    thread = ntdll.SYSTEM_THREAD_INFORMATION
    assert thread.ThreadState.offset == parse_processes.STATE_OFFSET
    assert thread.WaitReason.offset == parse_processes.REASON_OFFSET


def test_every_count_is_read_from_where_its_structure_has_it(system: System) -> None:
    numbers = {name: 1000 + place for place, name in enumerate((*FIELDS, *MEMORY, *IO))}
    system.programs = [
        Program(
            8,
            "a.exe",
            created=numbers["created"],
            handles=numbers["handles"],
            private_resident=numbers["private_resident_bytes"],
            hard_faults=77 | 5 << 32,
            fields={FIELDS[name]: numbers[name] for name in FIELDS if name != "private_resident_bytes"},
            memory={MEMORY[name]: numbers[name] for name in MEMORY},
            io={IO[name]: numbers[name] for name in IO},
        )
    ]
    (found,) = read_processes()
    assert found.counts() == Counts(**numbers, hard_faults=77, threads_peak=5, cycles=0)
    assert (found.created, found.handles, found.base_priority) == (
        numbers["created"],
        numbers["handles"],
        numbers["base_priority"],
    )


def test_processes_come_in_ascending_order_with_names_and_threads(system: System) -> None:
    system.programs = [
        Program(0, "", session=0, created=0),
        Program(400, "b\ud800.exe", ppid=8, threads=(Thread(404, state=2, reason=0), Thread(408))),
        Program(8, "a.exe", session=3),
    ]
    idle, first, second = read_processes()
    assert (idle.pid, idle.name, idle.created) == (0, "", 0)
    assert (first.pid, first.name, first.session, first.threads) == (8, "a.exe", 3, 0)
    assert (second.pid, second.ppid, second.created) == (400, 8, BOOTED)
    assert second.name == "b\U0010eeed\U0010eea0\U0010ee80.exe"
    assert second.thread_states() == (b"\x02\x05", b"\x00\x06")
    assert list(second.thread_entries())[1] == ThreadEntry(0, 0, BOOTED, 0, 0x7FF6_0000_1000, 400, 408, 0, 0, 0, 5, 6)


def test_the_buffer_grows_until_the_list_fits(system: System) -> None:
    system.programs = [Program(4 * n, "x" * 200, threads=(Thread(n),) * 10) for n in range(1, 2000)]
    assert len(read_processes()) == 1999
    assert len(system.calls) == 2


def test_a_list_without_end_is_given_up(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ntdll, "_LIMIT", 1 << 22)
    system.refusals[ntdll.SystemProcessInformation] = ntdll.STATUS_INFO_LENGTH_MISMATCH
    with pytest.raises(Unavailable, match="longer than"):
        read_processes()
    assert len(system.calls) < 10


@pytest.mark.parametrize(("status", "error"), [(0xC0000022, Denied), (0xC0000002, NativeError)])
def test_refusals_are_told_apart(system: System, status: int, error: type[Exception]) -> None:
    system.refusals[ntdll.SystemProcessInformation] = status
    with pytest.raises(error):
        read_processes()


@pytest.mark.parametrize("cut", [1, 255, 256, 300])
def test_an_answer_that_is_cut_short_is_refused(system: System, cut: int) -> None:
    whole = listing([Program(8, "a.exe"), Program(12, "b.exe", threads=(Thread(16),))], 0)
    system.answers[ntdll.SystemProcessInformation] = lambda _: whole[:cut]
    with pytest.raises(Unavailable):
        read_processes()


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_parsed_or_refused(raw: bytes) -> None:
    try:
        for listed in parse_processes.parse_processes(raw, 0):
            listed.counts(), list(listed.thread_entries()), listed.thread_states()
    except ValueError:
        pass


@given(st.data())
def test_a_list_with_damage_is_parsed_or_refused(data: Any) -> None:
    raw = bytearray(listing([Program(8, "a.exe", threads=(Thread(12),)), Program(16, "bb.exe")], 0x1000))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        for listed in parse_processes.parse_processes(bytes(raw), 0x1000):
            listed.counts(), list(listed.thread_entries()), listed.thread_states()
    except ValueError:
        pass


# Boot ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def guid(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*arguments: Any) -> int:
        ctypes.memmove(arguments[5], "abc-1\0".encode("utf-16-le"), 12)
        return 0

    script(monkeypatch, machine.advapi32, RegGetValueW=answer)


@pytest.mark.usefixtures("guid")
def test_a_boot_is_the_same_after_the_clock_was_set(system: System) -> None:
    before = clock.read_boot()
    system.answers[ntdll.SystemTimeOfDayInformation] = lambda _: time_of_day(BOOTED - 5_000, -5_000)
    after = clock.read_boot()
    assert before.boot_id == after.boot_id == f"abc-1:{BOOTED:x}"
    assert before.at_ns - after.at_ns == 500_000


def test_without_an_identifier_of_the_machine_a_boot_still_has_its_time(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, machine.advapi32, RegGetValueW=lambda *_: 2)
    assert clock.read_boot().boot_id == f"unknown:{BOOTED:x}"
    assert system.calls == [ntdll.SystemTimeOfDayInformation]


@pytest.mark.usefixtures("guid")
def test_keys_carry_the_creation_time(system: System) -> None:
    key = clock.read_boot().key(8, BOOTED + 1)
    assert (key.pid_ns, key.pid, key.start) == (0, 8, BOOTED + 1)
    assert system.calls


def test_filetimes_are_utc_since_the_epoch() -> None:
    assert clock.filetime_ns(clock.EPOCH_FILETIME) == 0
    assert clock.filetime_ns(clock.EPOCH_FILETIME + 1) == 100


@pytest.mark.usefixtures("guid")
def test_a_kernel_without_a_boot_time_says_so(system: System) -> None:
    system.answers[ntdll.SystemTimeOfDayInformation] = lambda _: bytes(8)
    with pytest.raises(Unavailable):
        clock.read_boot()
    system.refusals[ntdll.SystemTimeOfDayInformation] = 0xC0000022
    with pytest.raises(Denied):
        clock.read_boot()
