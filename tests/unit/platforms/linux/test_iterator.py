"""The iterator's records taken apart: what each field means, whatever the bytes."""

import errno
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Denied, Unavailable, Unsupported
from hostscope.model.process import Process
from hostscope.model.request import BASIC, FULL
from hostscope.model.security import HostSecurity
from hostscope.platforms.linux import iterator, iterator_rows, loader, task_record
from hostscope.platforms.linux.clock import PAGE_BYTES, TICK_NS, Boot
from hostscope.platforms.linux.context import Contexts
from hostscope.platforms.linux.iterator_rows import IteratorRows
from hostscope.platforms.linux.names import Terminals
from hostscope.platforms.linux.native import bpf
from hostscope.platforms.linux.procfs import ProcRows
from hostscope.platforms.linux.task_record import (
    ACTIVITY,
    BRIEF_BYTES,
    CONTEXT,
    HEADER,
    HEADER_BYTES,
    IO,
    MEMORY,
    SESSION,
    SIZES,
    Flag,
    Want,
)
from hostscope.platforms.posix_accounts import Accounts
from hostscope.platforms.tally import Tally

BOOT = Boot("boot", 4026531836, 1_000_000)
FIELDS = BASIC | {"cwd", "root", "io", "activity", "open_files"}


def padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 8)


def record(  # what a process of a quiet host looks like
    flags: int = 0,
    argv: bytes = b"/bin/cat\0-n\0",
    exe: bytes = b"cat\0bin\0",
    cwd: bytes = b"",
    root: bytes = b"",
    state: int = 1,
    task_flags: int = 0,
    start_ns: int = 12_345_678_901,
    tty: int = 0,
    comm: bytes = b"cat",
) -> bytes:
    context = CONTEXT.pack(*[7] * 8, *[0] * 5, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, *range(1, 9), 0xFFFF_8000, 1, 1, 0)
    size = HEADER_BYTES + sum(map(len, map(padded, (argv, exe, cwd, root))))
    times = [3_000_000, 1_000_000, 4_000_000, 0, 0, 50, 60]
    head = HEADER.pack(
        size, flags, len(argv), SIZES.pack(len(exe), len(cwd), len(root), 0), 9, 42, 1, 2, 0, 0,
        struct.pack("<3I", state, 0, task_flags), start_ns, comm, *times, ACTIVITY.pack(11, 12, 13, 14),
        MEMORY.pack(100, 120, 5, 7, 3, 2, 30, 4), IO.pack(21, 22, 23, 24), 99, context,
        struct.pack("<IiiI", 3, 120, 125, 0), SESSION.pack(40, 41, tty), 77, 8, 0,
    )  # fmt: skip
    return head + b"".join(map(padded, (argv, exe, cwd, root)))


def rows(wanted: frozenset[str] = FIELDS) -> IteratorRows:
    contexts = Contexts(Accounts(), None, HostSecurity(), wanted)
    terminals = Terminals()
    proc = ProcRows(BOOT, contexts, terminals, wanted, False)
    return IteratorRows(BOOT, contexts, terminals, wanted, False, proc)


def row(raw: bytes, wanted: frozenset[str] = FIELDS) -> Process:
    (found,) = rows(wanted).decode(raw, Tally())
    return found


def test_a_record_gives_a_row() -> None:
    found = row(record())
    assert (found.pid, found.ppid, found.name, found.state, found.kernel) == (42, 1, "cat", "sleeping", False)
    assert (found.key.start, found.started_at_ns) == (1234, 1_000_000 + 1234 * TICK_NS)
    assert found.exe and found.exe.path == "/bin/cat"
    assert found.argv == ("/bin/cat", "-n")
    assert (found.cwd, found.root, found.threads, found.open_files) == ("/", "/", 2, 9)
    assert found.owner and found.owner.id == "7"
    assert found.session and (found.session.session, found.session.group) == (40, 41)
    assert found.schedule and (found.schedule.policy, found.schedule.priority, found.schedule.nice) == ("batch", 20, 5)
    assert found.cpu and (found.cpu.user_ns, found.cpu.system_ns, found.cpu.children_user_ns) == (3_000_000, 10**6, 50)
    assert found.activity and (found.activity.minor_faults, found.activity.involuntary_switches) == (11, 14)
    assert found.io and (found.io.read_bytes, found.io.read_call_bytes) == (23, 21)
    assert found.gaps == ()


def test_memory_is_in_bytes_and_peaks_are_never_below() -> None:
    memory = row(record()).memory
    assert memory
    assert memory.virtual_bytes == 100 * PAGE_BYTES
    assert memory.resident_bytes == (5 + 7 + 2) * PAGE_BYTES
    assert memory.shared_bytes == 7 * PAGE_BYTES
    assert (memory.swap_bytes, memory.peak_virtual_bytes) == (3 * PAGE_BYTES, 120 * PAGE_BYTES)
    assert memory.peak_resident_bytes == 30 * PAGE_BYTES


def test_only_what_was_asked_for() -> None:
    found = row(record(), frozenset())
    assert (found.pid, found.name, found.state) == (42, "cat", "sleeping")
    for field in ("exe", "argv", "cwd", "owner", "session", "threads", "schedule", "cpu", "memory", "io", "activity"):
        assert getattr(found, field) is None, field


def test_a_kernel_thread_has_no_image_and_no_gap() -> None:
    found = row(record(int(Flag.NO_MM | Flag.NO_EXE), b"", b"", task_flags=0x200000))
    assert found.kernel is True
    assert (found.exe, found.argv, found.memory, found.cwd, found.gaps) == (None, None, None, None, ())


def test_directories_that_were_removed() -> None:
    found = row(record(int(Flag.CWD_UNLINKED), cwd=b"gone\0tmp\0"))
    assert (found.cwd, found.root) == ("/tmp/gone (deleted)", "/")


def test_arguments_keep_their_bytes_and_empty_ones() -> None:
    assert row(record(argv=b"a\0\0\xff\0")).argv == ("a", "", "\U0010eeff")
    assert row(record(argv=b"")).argv == ()


def test_several_records_in_a_chunk() -> None:
    found = list(rows().decode(record() + record(argv=b"x" * 30 + b"\0") + record(argv=b""), Tally()))
    assert [process.argv and len(process.argv[0]) for process in found] == [8, 30, ()]


@pytest.mark.parametrize("raw", [bytes(HEADER_BYTES), record() + b"x", record()[: HEADER_BYTES - 1]])
def test_records_that_make_no_sense(raw: bytes) -> None:
    with pytest.raises(Unavailable):
        list(rows().decode(raw, Tally()))


def test_one_row_that_fails_never_ends_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Process:
        raise ValueError("nonsense")

    whole, tally = IteratorRows._row, Tally()
    monkeypatch.setattr(IteratorRows, "_row", lambda *given: (whole if given[2] == HEADER_BYTES else fail)(*given))
    assert len(list(rows().decode(record() * 3, tally))) == 1
    assert (tally.seen, tally.failed, tally.notes) == (3, 2, ["process 42: nonsense"])


def test_what_the_iterator_leaves_out_is_counted_like_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the pids that only /proc lists: one as old as init, one that ended, one that started since, one refused."""

    def read(self: ProcRows, proc: int, pid: int) -> Process:
        if failure := {50: ProcessLookupError(errno.ESRCH, ""), 52: PermissionError(errno.EPERM, "")}.get(pid):
            raise failure
        return Process(BOOT.key(pid, 1 << 62 if pid == 51 else 0), 0, "whole")

    monkeypatch.setattr(ProcRows, "read", read)
    monkeypatch.setattr(iterator_rows, "list_pids", lambda: [1, 42, 50, 51, 52])
    monkeypatch.setattr(iterator_rows.reread, "count_threads", lambda: 99)
    tally = Tally()
    found = list(rows().sweep(iter([record()]), tally))
    assert [process.pid for process in found] == [1, 42]
    assert (tally.seen, tally.vanished, tally.denied) == (4, 1, 1)
    assert tally.notes == ["process 1 is missing from the kernel's iterator; it was read from /proc"]


def test_contexts_that_variants_are_told_by_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their address stands for them: none that could be freed may be among the keys."""

    def fail(*_: object) -> bytes:
        raise ProcessLookupError(errno.ESRCH, "")

    monkeypatch.setattr(iterator_rows, "read_file", fail)  # with a gap a context is built for each row
    sweep = rows(FIELDS | {"cgroup", "oom"})
    for process in sweep.decode(record() * 20, Tally()):
        assert {gap.field for gap in process.gaps} == {"linux.cgroup", "container", "service"}
    assert {place[0] for place in sweep._variants} <= set(map(id, sweep._varied))
    assert len(set(map(id, sweep._varied))) == 20


@given(st.binary(max_size=600))
def test_any_bytes_after_a_header(raw: bytes) -> None:
    header = bytearray(record()[:HEADER_BYTES])
    struct.pack_into("<I", header, 0, HEADER_BYTES + len(raw))
    tally = Tally()
    assert len(list(rows().decode(bytes(header) + raw, tally))) + tally.failed == tally.seen


def test_columns_of_arbitrary_bytes_are_an_error() -> None:
    pytest.importorskip("numpy", reason="columns need NumPy")
    from hostscope.platforms.linux.task_columns import find_records

    size = len(record())
    assert find_records(record() * 3, HEADER_BYTES) == [0, size, 2 * size]
    for raw in (record()[:-1], record() + b"x", bytes(HEADER_BYTES), b"\xff" * HEADER_BYTES):
        with pytest.raises(ValueError):
            find_records(raw, HEADER_BYTES)


@given(st.binary(max_size=200))
def test_columns_of_any_bytes_after_a_header(raw: bytes) -> None:
    """Sizes inside of a record may say anything: columns are made, of what is there."""
    pytest.importorskip("numpy", reason="columns need NumPy")
    from hostscope.platforms.linux.task_columns import task_columns

    header = bytearray(record()[:BRIEF_BYTES]) + raw + bytes(-len(raw) % 8)
    struct.pack_into("<I", header, 0, len(header))
    header[8:20] = (raw + bytes(12))[:12]
    columns = task_columns([bytes(header)], BOOT, frozenset({"argv", "exe"})).columns
    assert {len(column) for column in columns.values()} == {1}
    assert columns["argv"][0] in raw + bytes(8)


def test_brief_records_give_the_same_columns() -> None:
    pytest.importorskip("numpy", reason="columns need NumPy")
    from hostscope.platforms.linux.task_columns import task_columns

    whole = record()
    short = bytearray(whole[:BRIEF_BYTES] + whole[HEADER_BYTES:])
    struct.pack_into("<I", short, 0, len(short))
    few = frozenset({"argv", "exe", "state", "threads"})
    found = task_columns([bytes(short)] * 2, BOOT, few).columns
    expected = task_columns([whole] * 2, BOOT, few | {"owner"}).columns
    assert {name: list(column) for name, column in found.items()} == {name: list(expected[name]) for name in found}
    assert list(found["argv"]) == [b"/bin/cat\0-n\0"] * 2 and list(found["exe"]) == ["/bin/cat"] * 2


def test_no_processes_are_empty_columns() -> None:
    pytest.importorskip("numpy", reason="columns need NumPy")
    from hostscope.platforms.linux.task_columns import task_columns

    assert {len(column) for column in task_columns([], BOOT, FULL).columns.values()} == {0}


# Meanings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "exit_state", "name"),
    [
        (0, 0, "running"), (1, 0, "sleeping"), (0x2001, 0, "sleeping"), (2, 0, "disk-sleep"), (0x402, 0, "idle"),
        (0x2402, 0, "idle"), (4, 0, "stopped"), (8, 0, "tracing-stop"), (0x80, 0x20, "zombie"), (0x80, 0x10, "dead"),
        (0x40, 0, "parked"), (0x8000, 0, "disk-sleep"), (0x1000, 0, "disk-sleep"), (0x102, 0, "disk-sleep"),
    ],
)  # fmt: skip
def test_states(state: int, exit_state: int, name: str) -> None:
    assert task_record.state_name(state, exit_state) == name


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_any_state_has_a_name(state: int, exit_state: int) -> None:
    assert task_record.state_name(state, exit_state) in task_record.STATE_NAMES


@pytest.mark.parametrize(
    ("user", "system", "runtime", "last", "answer"),
    [
        (3, 1, 4000, (0, 0), (3000, 1000)),
        (0, 0, 700, (0, 0), (700, 0)),
        (0, 5, 700, (0, 0), (0, 700)),
        (5, 0, 700, (0, 0), (700, 0)),
        (1, 1, 1000, (900, 90), (900, 100)),  # neither may go backwards
        (1, 1, 1000, (0, 800), (200, 800)),
        (1, 1, 100, (80, 30), (80, 30)),  # nothing new to divide
    ],
)
def test_run_time_is_divided_as_the_kernel_does(
    user: int, system: int, runtime: int, last: tuple[int, int], answer: tuple[int, int]
) -> None:
    assert task_record.split_runtime(user, system, runtime, *last) == answer


@given(*[st.integers(0, 2**60)] * 3, *[st.integers(0, 2**50)] * 2)
def test_no_time_is_lost_or_goes_backwards(user: int, system: int, runtime: int, last_u: int, last_s: int) -> None:
    got = task_record.split_runtime(user, system, runtime, last_u, last_s)
    assert sum(got) == max(runtime, last_u + last_s)
    assert got[0] >= last_u
    assert got[1] >= last_s


@pytest.mark.parametrize(
    ("raw", "path"), [(b"", b"/"), (b"a\0", b"/a"), (b"c\0b\0a\0", b"/a/b/c"), (b"memfd:x\0", b"/memfd:x")]
)
def test_paths_are_joined_from_the_leaf(raw: bytes, path: bytes) -> None:
    assert task_record.join_path(raw) == path


@pytest.mark.parametrize(
    ("adjustment", "pages", "score"),
    [(0, 0, 666), (0, 1_000_000, 1333), (1000, 0, 1333), (-1000, 5, 0), (-500, 0, 333)],
)
def test_oom_scores(adjustment: int, pages: int, score: int) -> None:
    assert task_record.oom_score(adjustment, pages, 1_000_000) == score


def test_every_cheap_field_is_asked_of_the_kernel_but_three() -> None:
    """State is always there, labels are text of the security module; `threads` stands in every record."""
    assert {field for field in FULL if not iterator.want_of(frozenset({field}))} == {"state", "threads", "lsm"}
    assert iterator.want_of(FULL) == Want((1 << len(Want)) - 1) & ~Want.BRIEF


# Errors -------------------------------------------------------------------------------------------------------------


def test_a_missing_capability_is_denied_and_named() -> None:
    error = loader._error("tasks", PermissionError(errno.EPERM, "no"))
    assert isinstance(error, Denied)
    assert error.hint and "CAP_BPF" in error.hint


def test_the_verifiers_last_words_are_told() -> None:
    log = "\n".join([*(f"line {n}" for n in range(50)), "R1 invalid mem access 'scalar'", "processed 9 insns"])
    error = loader._error("tasks", bpf.Rejected(errno.EACCES, log))
    assert isinstance(error, Unsupported)
    assert "R1 invalid mem access" in str(error)
    assert "line 2 " not in str(error)


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSYS, Unsupported), (errno.ENOMEM, Unavailable)])
def test_other_errors(code: int, kind: type[Exception]) -> None:
    assert isinstance(loader._error("tasks", OSError(code, "text")), kind)


def test_the_pids_alone() -> None:
    assert list(task_record.record_pids(record() + record(argv=b"/bin/longer\0"))) == [42, 42]
    assert list(task_record.record_pids(b"")) == []


@given(st.binary(max_size=2 * HEADER_BYTES))
def test_the_pids_of_arbitrary_bytes(raw: bytes) -> None:
    with suppress(Unavailable):
        assert len(list(task_record.record_pids(raw))) <= 2
