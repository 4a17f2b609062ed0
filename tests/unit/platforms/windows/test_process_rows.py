"""Rows of scripted Windows processes: every field from where it belongs, and every refusal a gap and no more."""

from typing import Any

import pytest

from hostscope.errors import Gone, UsageError
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Activity, Cpu, Executable, Io, Memory, Process, Schedule, Session
from hostscope.model.request import BASIC, ProcessRequest
from hostscope.model.windows import Charges
from hostscope.platforms.replay.select import GROUPS
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.clock import EPOCH_FILETIME
from hostscope.platforms.windows.native import process as native
from tests.unit.platforms.windows.scripted import BOOTED, Program, Thread
from tests.unit.platforms.windows.scripted_processes import (
    BOOT,
    DENIED,
    Answers,
    Computer,
    Unraised,
)
from tests.unit.platforms.windows.scripted_rows import EVERYTHING, ORDINARY, PARENT, gaps, processes, sweep


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    return Computer([PARENT, ORDINARY]).install(monkeypatch)


# Whole rows ---------------------------------------------------------------------------------------------------------


def test_a_row_has_everything(computer: Computer) -> None:
    computer.answers[100] = Answers(
        path="C:\\Program Files\\a.exe",
        command_line='"C:\\Program Files\\a.exe" "b c" d\\"e',
        directory="C:\\Users\\me\\",
        package="Maker.App_1.0_x64__abc",
        priority=0x80,
    )
    rows, tally = sweep()
    row = rows[100]
    assert (row.key, row.ppid, row.name) == (BOOT.key(100, BOOTED + 7), 8, "a.exe")
    assert row.started_at_ns == (BOOTED + 7 - EPOCH_FILETIME) * 100
    assert (row.state, row.kernel) == ("sleeping", False)
    assert row.exe == Executable("C:\\Program Files\\a.exe")
    assert row.argv == ("C:\\Program Files\\a.exe", "b c", 'd"e')
    assert row.cwd == "C:\\Users\\me"
    assert row.owner is not None and row.owner.id == "S-1-5-18"
    assert row.session == Session(2, None, None)
    assert (row.threads, row.open_files) == (2, 55)
    assert row.schedule == Schedule("variable", 8, None, None)
    assert row.cpu == Cpu(2_000, 3_000)
    assert row.memory == Memory(800, 500, 50, None, 900, 600)
    assert row.io == Io(None, None, 11, 12)
    assert row.activity == Activity(61, 9, None, None)
    windows = row.windows
    assert windows is not None
    assert windows.memory == Charges(250, 450, 200, 300, 40, 30)
    assert (windows.architecture, windows.wow64, windows.package) == ("x64", False, "Maker.App_1.0_x64__abc")
    assert windows.native_path == "\\Device\\HarddiskVolume3\\Program Files\\a.exe"
    assert (windows.priority, windows.suspended, windows.virtual) == ("high", False, None)
    assert (windows.handles, windows.gdi_objects, windows.user_objects) == (55, 3, 4)
    assert gaps(row) == {"io.read_bytes": Reason.UNSUPPORTED, "io.written_bytes": Reason.UNSUPPORTED}
    assert (tally.method, tally.method_reason, tally.seen, tally.vanished) == ("native", None, 2, 0)
    assert not computer.open


def test_rows_come_in_ascending_pid_order_and_under_one_privilege(computer: Computer) -> None:
    computer.programs.insert(0, Program(400, "c.exe"))
    computer.system.programs = computer.programs
    privileges = Unraised()
    rows = processes(privileges=privileges).sweep(EVERYTHING, Tally())
    assert privileges.used == []
    assert [row.pid for row in rows] == [8, 100, 400]
    assert privileges.used == [(("SeDebugPrivilege",), "read other users' processes")]


def test_what_the_list_holds_takes_no_call_a_row(computer: Computer) -> None:
    fields = frozenset({"state", "session", "threads", "cpu", "memory", "io", "activity"})
    rows, _ = sweep(ProcessRequest(fields=fields))
    assert len(rows) == 2
    assert computer.calls == {"NtQuerySystemInformation": 1}


def test_calls_of_a_row_are_counted(computer: Computer) -> None:
    sweep(ProcessRequest(fields=BASIC))
    before = computer.calls.copy()
    computer.programs.append(Program(200, "b.exe", threads=(Thread(204),)))
    computer.system.programs = computer.programs
    sweep(ProcessRequest(fields=BASIC))
    more = computer.calls - before - before
    assert dict(more) == {
        "OpenProcess": 1,
        "GetProcessTimes": 1,
        "QueryFullProcessImageNameW": 2,
        "IsWow64Process2": 1,
        "GetPackageFullName": 1,
        "NtQueryInformationProcess": 1,
        "GetPriorityClass": 1,
        "CloseHandle": 1,
    }


def test_fields_that_were_not_asked_for_are_none_without_a_gap(computer: Computer) -> None:
    row = sweep(ProcessRequest(fields=frozenset()))[0][100]
    assert row == Process(
        key=row.key, ppid=8, name="a.exe", started_at_ns=row.started_at_ns, windows=row.windows, gaps=()
    )
    assert row.windows is not None
    assert {getattr(row.windows, name) for name in row.windows.__struct_fields__} == {None}


def test_one_process_is_read_as_in_a_sweep(computer: Computer) -> None:
    assert processes().read(100, EVERYTHING) == sweep()[0][100]
    with pytest.raises(Gone):
        processes().read(4000, EVERYTHING)
    computer.refuse["OpenProcess:100"] = 87
    with pytest.raises(Gone):
        processes().read(100, EVERYTHING)


def test_methods_are_checked_at_the_call() -> None:
    with pytest.raises(UsageError, match="there is no method 'proc'"):
        processes().sweep(ProcessRequest(method="proc"), Tally())
    with pytest.raises(UsageError):
        processes().read(4, ProcessRequest(method="proc"))


# Refusals -----------------------------------------------------------------------------------------------------------

ROW_CALLS = {
    "OpenProcess": {
        "exe", "windows.native_path", "windows.architecture", "windows.wow64", "windows.package", "argv", "cwd",
        "windows.priority", "windows.gdi_objects", "windows.user_objects",
    },
    "GetProcessTimes": {
        "exe", "windows.native_path", "windows.architecture", "windows.wow64", "windows.package", "argv", "cwd",
        "windows.priority", "windows.gdi_objects", "windows.user_objects",
    },
    "CloseHandle": set(),
    "QueryFullProcessImageNameW": {"exe", "windows.native_path"},
    "IsWow64Process2": {"windows.architecture", "windows.wow64"},
    "GetProcessInformation": set(),
    "GetPackageFullName": {"windows.package"},
    "GetPriorityClass": {"windows.priority"},
    "GetGuiResources": {"windows.gdi_objects", "windows.user_objects"},
    "NtQueryInformationProcess:60": {"argv"},
    "NtQueryInformationProcess:26": {"cwd"},
    "NtQueryInformationProcess:0": {"cwd"},
    "ReadProcessMemory": {"cwd"},
}  # fmt: skip
"""The fields that each call of a row gives, and that are lost with it where nothing else tells them."""
STORAGE = {"io.read_bytes", "io.written_bytes"}
TOLD_WITHOUT_HANDLE = {"exe", "windows.native_path"}
"""What the kernel tells of processes that may not be opened."""


@pytest.mark.parametrize("call", ROW_CALLS)
@pytest.mark.parametrize("unopened", [True, False])
def test_access_denied_in_any_call_costs_its_fields_and_nothing_else(
    computer: Computer, call: str, unopened: bool
) -> None:
    before = sweep()[0][100]
    computer.refuse[call] = DENIED
    if not unopened:
        computer.lacks.add("NtQuerySystemInformation:88")
    rows, tally = sweep()
    row, lost = rows[100], ROW_CALLS[call] - (TOLD_WITHOUT_HANDLE if unopened else set())
    assert (tally.seen, tally.vanished, tally.failed) == (2, 0, 0)
    assert gaps(row) == dict.fromkeys(lost, Reason.DENIED) | dict.fromkeys(STORAGE, Reason.UNSUPPORTED)
    for group in GROUPS.values():
        for field in group:
            assert value(row, field) == (None if field in lost else value(before, field)), field


def value(row: Process, path: str) -> Any:
    found: Any = row
    for name in path.split("."):
        found = getattr(found, name) if found is not None else None
    return found


def test_every_function_that_rows_use_is_refused_above() -> None:
    """New functions of the modules that rows read with must be added to `ROW_CALLS`."""
    used = {*native.SIGNATURES, *native.USER32_SIGNATURES} - {
        "GetProcessIoCounters", "GetProcessHandleCount", "ProcessIdToSessionId",  # only with Toolhelp, below
    }  # fmt: skip
    assert used <= ROW_CALLS.keys()


def test_a_process_that_may_not_be_opened_has_what_the_list_and_the_kernel_tell(computer: Computer) -> None:
    computer.refuse["OpenProcess:100"] = DENIED
    row = sweep()[0][100]
    assert row.exe == Executable("C:\\Windows\\a.exe")
    assert row.memory is not None and row.cpu is not None and row.threads == 2
    assert gaps(row)["argv"] is Reason.DENIED


def test_one_that_may_only_be_looked_at_is_opened_so(computer: Computer) -> None:
    """Protected processes: memory and queries are refused, the limited ones are not."""
    wide = 0x1000 | 0x10 | 0x400
    computer.refuse[f"OpenProcess:{wide:#x}"] = DENIED
    computer.refuse["ReadProcessMemory"] = DENIED
    computer.refuse["GetGuiResources"] = DENIED
    row = sweep()[0][100]
    assert row.argv == ("a.exe",)
    lost = {"cwd", "windows.gdi_objects", "windows.user_objects"}
    assert {field for field, reason in gaps(row).items() if reason is Reason.DENIED} == lost
    assert not computer.open


def test_one_that_ended_since_it_was_listed_is_counted(computer: Computer) -> None:
    computer.refuse["OpenProcess:100"] = 87
    rows, tally = sweep()
    assert list(rows) == [8]
    assert (tally.seen, tally.vanished) == (2, 1)


@pytest.mark.parametrize("answers", [Answers(created=BOOTED + 9), Answers(ended=BOOTED + 20)])
def test_one_whose_pid_was_given_again_or_that_ends_is_no_row(computer: Computer, answers: Answers) -> None:
    computer.answers[100] = answers
    rows, tally = sweep()
    assert list(rows) == [8]
    assert tally.vanished == 1
    assert not computer.open


# Command lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("narrow", [False, True])
def test_before_windows_8_1_command_lines_come_from_memory(computer: Computer, narrow: bool) -> None:
    computer.lacks.add("NtQueryInformationProcess:60")
    for pid in (8, 100):
        computer.answers[pid] = Answers(command_line=f'x.exe "{pid} é"', narrow=narrow, directory="D:\\")
    rows, _ = sweep(ProcessRequest(fields=frozenset({"argv", "cwd"})))
    assert [row.argv for row in rows.values()] == [("x.exe", "8 é"), ("x.exe", "100 é")]
    assert rows[100].cwd == "D:\\"
    assert computer.calls["NtQueryInformationProcess"] == 1 + 2 * (1 if narrow else 2)


def test_a_32_bit_block_is_found_where_the_kernel_only_says_that_there_is_one(computer: Computer) -> None:
    computer.lacks.add("NtQueryInformationProcess:60")
    computer.answers[100] = Answers(command_line="x.exe y", narrow=True, coy=True)
    row = sweep(ProcessRequest(fields=frozenset({"argv", "cwd"})))[0][100]
    assert (row.argv, row.cwd) == (("x.exe", "y"), "C:\\Windows")


def test_a_long_command_line_takes_a_second_call(computer: Computer) -> None:
    computer.answers[100] = Answers(command_line="x " + "y" * 30_000)
    row = sweep(ProcessRequest(fields=frozenset({"argv"})))[0][100]
    assert row.argv == ("x", "y" * 30_000)


def test_a_process_without_parameters_has_a_gap(computer: Computer) -> None:
    computer.spaces[100] = {0x10000: bytes(0x40)}
    row = sweep(ProcessRequest(fields=frozenset({"cwd"})))[0][100]
    assert row.gaps == (Gap("cwd", Reason.UNAVAILABLE, "it has no parameters yet"),)


def test_a_string_that_leads_into_the_void_is_a_gap(computer: Computer) -> None:
    sweep()
    del computer.spaces[100][0x30000]
    assert gaps(sweep()[0][100])["cwd"] is Reason.TRUNCATED


# Machines, packages, long paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("emulated", "computer_is", "code", "expected"),
    [
        (0, native.IMAGE_FILE_MACHINE_AMD64, 0, ("x64", False)),
        (native.IMAGE_FILE_MACHINE_I386, native.IMAGE_FILE_MACHINE_AMD64, 0, ("x86", True)),
        (0, native.IMAGE_FILE_MACHINE_ARM64, native.IMAGE_FILE_MACHINE_ARM64, ("arm64", False)),
        (0, native.IMAGE_FILE_MACHINE_ARM64, native.IMAGE_FILE_MACHINE_AMD64, ("x64", False)),
        (native.IMAGE_FILE_MACHINE_ARMNT, native.IMAGE_FILE_MACHINE_ARM64, 0, ("arm", True)),
        (0, 0x5032, 0, ("machine 0x5032", False)),
    ],
)
def test_architectures(
    computer: Computer, emulated: int, computer_is: int, code: int, expected: tuple[str, bool]
) -> None:
    computer.answers[100] = Answers(emulated=emulated, computer=computer_is, code=code)
    windows = sweep(ProcessRequest(fields=frozenset({"exe"})))[0][100].windows
    assert windows is not None and (windows.architecture, windows.wow64) == expected


def test_where_x64_and_arm64_cannot_be_told_apart_the_architecture_is_a_gap(computer: Computer) -> None:
    computer.answers[100] = Answers(computer=native.IMAGE_FILE_MACHINE_ARM64)
    computer.refuse["GetProcessInformation"] = 87
    row = sweep(ProcessRequest(fields=frozenset({"exe"})))[0][100]
    assert row.windows is not None and (row.windows.architecture, row.windows.wow64) == (None, False)
    assert "windows.architecture" in gaps(row)


def test_long_paths_are_whole(computer: Computer) -> None:
    path = "C:\\" + "x" * 5000
    computer.answers[100] = Answers(path=path)
    row = sweep()[0][100]
    assert row.exe == Executable(path)


# Parents ------------------------------------------------------------------------------------------------------------


def test_a_process_that_started_later_is_not_the_parent(computer: Computer) -> None:
    computer.programs[0] = Program(8, "taker.exe", created=BOOTED + 8, threads=(Thread(12),))
    computer.system.programs = computer.programs
    row = sweep(ProcessRequest(fields=frozenset()))[0][100]
    assert row.ppid is None
    assert row.gaps == (Gap("ppid", Reason.GONE, "its parent has ended; process 8 started after it"),)


def test_a_parent_that_ended_keeps_its_number(computer: Computer) -> None:
    del computer.programs[0]
    computer.system.programs = computer.programs
    row = sweep(ProcessRequest(fields=frozenset()))[0][100]
    assert (row.ppid, row.gaps) == (8, ())


# Processes without programs -----------------------------------------------------------------------------------------


def test_virtual_processes_are_told_by_what_the_kernel_knows_of_them(computer: Computer) -> None:
    computer.programs[:] = [
        Program(0, "", created=0, session=0, threads=(Thread(0, state=2),)),
        Program(4, "System", created=BOOTED, session=0, threads=(Thread(8),)),
        Program(100, "Registry", ppid=4, created=BOOTED - 9, session=0, threads=(Thread(104),)),
        Program(200, "Memory Compression", ppid=4, created=BOOTED + 9, session=0),
        Program(300, "Secure System", ppid=4, created=BOOTED + 9, session=0),
        Program(400, "vmmemWSL", ppid=8, created=BOOTED + 9),
        Program(500, "Registry", ppid=8, created=BOOTED + 9, threads=(Thread(504),)),
        Program(600, "registry.exe", ppid=8, created=BOOTED + 9, threads=(Thread(604),)),
    ]
    for pid, name in ((4, "System"), (100, "Registry"), (200, "MemCompression"), (300, "x"), (400, "vmmem")):
        computer.answers[pid] = Answers(path=name)
    computer.system.programs = computer.programs
    rows, _ = sweep()
    virtual = {pid: row.windows and row.windows.virtual for pid, row in rows.items()}
    assert virtual == {
        0: "idle", 4: "system", 100: "registry", 200: "memory-compression", 300: "secure-system", 400: "vmmem",
        500: None, 600: None,
    }  # fmt: skip
    assert {pid for pid, row in rows.items() if row.kernel} == {0, 4, 100, 200, 300, 400}
    assert (rows[0].name, rows[0].state, rows[0].started_at_ns) == ("System Idle Process", "idle", None)
    assert rows[300].state is None and rows[100].state == "sleeping"
    for pid in (0, 4, 100, 300):
        assert (rows[pid].argv, rows[pid].exe, rows[pid].cwd) == (None, None, None)
        assert not {"argv", "exe", "cwd"} & gaps(rows[pid]).keys()
    assert rows[500].argv is not None
    assert rows[100].ppid == 4


def test_without_the_kernel_s_word_only_children_of_system_count_as_virtual(computer: Computer) -> None:
    computer.programs[:] = [Program(100, "Registry", ppid=4), Program(200, "vmmem", ppid=8)]
    computer.system.programs = computer.programs
    computer.lacks.add("NtQuerySystemInformation:88")
    rows, _ = sweep()
    assert [row.kernel for row in rows.values()] == [True, False]


@pytest.mark.parametrize(
    ("threads", "state", "suspended"),
    [
        ((Thread(4, 5, 5), Thread(8, 5, 5)), "stopped", True),
        ((Thread(4, 5, 5), Thread(8, 5, 6)), "sleeping", False),
        ((Thread(4, 5, 5), Thread(8, 2, 0)), "running", False),
        ((Thread(4, 1, 0),), "running", False),
        ((Thread(4, 5, 12),), "stopped", True),
        ((Thread(4, 4, 0), Thread(8, 5, 5)), "stopped", True),
        ((), "zombie", None),
    ],
)
def test_states_come_from_threads(
    computer: Computer, threads: tuple[Thread, ...], state: str, suspended: bool | None
) -> None:
    computer.programs[1] = Program(100, "a.exe", threads=threads)
    computer.system.programs = computer.programs
    row = sweep(ProcessRequest(fields=frozenset({"state"})))[0][100]
    assert (row.state, row.windows and row.windows.suspended) == (state, suspended)


def test_a_kernel_that_gives_no_states_leaves_a_gap(computer: Computer) -> None:
    computer.programs[1] = Program(100, "a.exe", threads=(Thread(4, 0, 0), Thread(8, 0, 0)))
    computer.system.programs = computer.programs
    row = sweep(ProcessRequest(fields=frozenset({"state"})))[0][100]
    assert row.state is None
    assert gaps(row) == {"state": Reason.UNAVAILABLE}
