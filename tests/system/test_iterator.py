"""The kernel's iterator against /proc, field by field, on this host."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from hostscope.errors import Denied, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import FULL, ProcessRequest
from hostscope.model.security import HostSecurity
from hostscope.platforms import open_host
from hostscope.platforms.linux import loader, program_cache, relocate
from hostscope.platforms.linux.clock import TICK_NS, Boot, read_boot
from hostscope.platforms.linux.context import Contexts
from hostscope.platforms.linux.iterator import PROGRAMS, TaskIterator, count_cpus, want_of
from hostscope.platforms.linux.iterator_rows import IteratorRows
from hostscope.platforms.linux.names import Terminals
from hostscope.platforms.linux.procfs import ProcRows
from hostscope.platforms.linux.task_record import HEADER, Flag, Want, record_pids
from hostscope.platforms.posix_accounts import Accounts
from hostscope.platforms.tally import Tally
from tests.descriptors import descriptors
from tests.system.settling import lasting
from tests.system.told_child import run_told, told_child

pytestmark = [pytest.mark.system, pytest.mark.root]

COUNTERS = {
    "io.read_bytes", "io.written_bytes", "io.read_call_bytes", "io.written_call_bytes",
    "activity.minor_faults", "activity.major_faults", "activity.voluntary_switches", "activity.involuntary_switches",
    "memory.peak_virtual_bytes", "memory.peak_resident_bytes",
}  # fmt: skip
TIMES = {"cpu.user_ns", "cpu.system_ns", "cpu.children_user_ns", "cpu.children_system_ns"}
ONLY_ITERATOR = {"linux.dumpable", "gaps"}


class Methods:
    """Both methods, on the same terms."""

    def __init__(self, boot: Boot, wanted: frozenset[str] = FULL) -> None:
        self.boot, self.wanted, self.tally = boot, wanted, Tally()
        self.terminals, self.accounts = Terminals(), Accounts()

    def _contexts(self) -> Contexts:
        return Contexts(self.accounts, None, HostSecurity(), self.wanted)

    def proc(self) -> ProcRows:
        return ProcRows(self.boot, self._contexts(), self.terminals, self.wanted, False)

    def by_proc(self) -> dict[int, Process]:
        return {row.pid: row for row in self.proc().sweep(Tally())}

    def by_iterator(self, tasks: TaskIterator) -> dict[int, Process]:
        rows = IteratorRows(self.boot, self._contexts(), self.terminals, self.wanted, False, self.proc())
        found = list(rows.sweep(tasks.chunks(), self.tally))
        assert len({row.pid for row in found}) == len(found)
        return {row.pid: row for row in found}


@pytest.fixture(scope="module")
def methods() -> Methods:
    return Methods(read_boot())


@pytest.fixture(scope="module", params=PROGRAMS)
def tasks(request: pytest.FixtureRequest) -> Iterator[TaskIterator]:
    with open_tasks((request.param,)) as opened:
        yield opened


@contextmanager
def open_tasks(programs: tuple[str, ...] = PROGRAMS) -> Iterator[TaskIterator]:
    try:
        opened = TaskIterator(want_of(FULL), programs)
    except (Unsupported, Denied) as unusable:
        pytest.skip(str(unusable))
    with opened:
        yield opened


def leaves(thing: object, path: str = "") -> dict[str, object]:
    """Every value of a record by its dotted path."""
    if not isinstance(thing, msgspec.Struct):
        return {path: thing}
    found: dict[str, object] = {}
    for field in thing.__struct_fields__:
        found |= leaves(getattr(thing, field), f"{path}.{field}" if path else field)
    return found


def disagreements(before: Process, proc: Process, after: Process) -> dict[str, tuple[object, object, object]]:
    """Fields of one process where /proc's answer does not lie between two of the iterator's."""
    first, middle, last = leaves(before), leaves(proc), leaves(after)
    found = {}
    for path in first.keys() & middle.keys() & last.keys() - ONLY_ITERATOR:
        values = first[path], middle[path], last[path]
        if path in TIMES:
            agreed = values[0] - TICK_NS <= values[1] <= values[2] + TICK_NS  # type: ignore[operator]
        elif path in COUNTERS:
            agreed = values[0] <= values[1] <= values[2]  # type: ignore[operator]
        elif path == "linux.oom_score":
            agreed = abs(values[0] - values[1]) <= 1 or values[0] != values[2]  # type: ignore[operator]
        else:
            agreed = values[1] in (values[0], values[2]) or values[0] != values[2]
        if not agreed and not (path == "open_files" and before.pid == os.getpid()):  # reading opens some itself
            found[path] = values
    return found


def differing(tasks: TaskIterator, methods: Methods) -> dict[tuple[ProcessKey, str], tuple[object, object, object]]:
    """What disagrees, by process and field."""
    before, proc, after = methods.by_iterator(tasks), methods.by_proc(), methods.by_iterator(tasks)
    shared = [
        pid for pid in before.keys() & proc.keys() & after.keys() if before[pid].key == proc[pid].key == after[pid].key
    ]
    assert len(shared) >= 3
    return {
        (before[pid].key, path): values
        for pid in shared
        for path, values in disagreements(before[pid], proc[pid], after[pid]).items()
    }


def test_all_processes_agree_with_proc(tasks: TaskIterator, methods: Methods) -> None:
    """What changes is bounded by a look before and a look after; what does not must be equal."""
    assert lasting(lambda: differing(tasks, methods)) == {}


def test_no_process_is_missing(tasks: TaskIterator, methods: Methods) -> None:
    with told_child("import os; told = os.getpid()") as (pid, _):
        proc, seen = methods.by_proc(), methods.by_iterator(tasks)
        assert pid in seen
        # What /proc still shows afterwards was there all the time.
        assert (proc.keys() & methods.by_proc().keys()) <= seen.keys()


def row_of(pid: int, methods: Methods, tasks: TaskIterator) -> Process:
    return methods.by_iterator(tasks)[pid]


@pytest.mark.parametrize("size", [1, 100, 3900, 4000, 4050, 5000, 120_000])
def test_argument_sizes_around_the_slot(tasks: TaskIterator, methods: Methods, size: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "x" * size],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin and child.stdout
    try:
        child.stdout.readline()
        argv = row_of(child.pid, methods, tasks).argv
        assert argv and argv[-1] == "x" * size
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait(60)


OVERWRITE = """
import re
with open('/proc/self/stat') as file:
    start, end = (int(x) for x in file.read().rsplit(')', 1)[1].split()[45:47])
with open('/proc/self/mem', 'r+b') as memory:
    memory.seek(start)
    memory.write((b'worker: busy' * 4000)[:end - start])
told = end - start
"""


def test_arguments_that_were_written_over(tasks: TaskIterator, methods: Methods) -> None:
    with told_child(OVERWRITE) as (pid, _):
        argv = row_of(pid, methods, tasks).argv
        assert argv and argv[0].startswith("worker: busyworker:")
        assert "".join(argv).encode() == Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b"")


def test_directories_deeper_than_the_program_walks(tasks: TaskIterator, methods: Methods, tmp_path: Path) -> None:
    script = "import os\nfor n in range(300):\n os.mkdir('d'); os.chdir('d')\ntold = 0"
    with told_child(script, cwd=tmp_path) as (pid, _):
        assert row_of(pid, methods, tasks).cwd == os.readlink(f"/proc/{pid}/cwd") == str(tmp_path) + "/d" * 300


def test_names_of_255_bytes_and_odd_bytes(tasks: TaskIterator, methods: Methods, tmp_path: Path) -> None:
    folder = tmp_path / ("n" * 255) / "a\nb (deleted)" / "é"
    folder.mkdir(parents=True)
    with told_child("told = 0", cwd=folder) as (pid, _):
        assert row_of(pid, methods, tasks).cwd == str(folder)


def test_a_hundred_threads_are_added_up(methods: Methods) -> None:
    script = """
import threading
stop, started = threading.Event(), threading.Barrier(101)
def work():
    open('/proc/self/stat').read()
    started.wait(); stop.wait()
for _ in range(100): threading.Thread(target=work, daemon=True).start()
started.wait()
told = threading.active_count()
"""
    with open_tasks() as tasks, told_child(script) as (pid, told):
        before, proc, after = (
            row_of(pid, methods, tasks), methods.by_proc()[pid], row_of(pid, methods, tasks),
        )  # fmt: skip
        assert before.threads == told == 101
        assert not disagreements(before, proc, after)


def test_groups_few_and_many(methods: Methods) -> None:
    with open_tasks() as tasks:
        for count in (0, 1, 2, 63, 64, 65, 300):
            with told_child(f"import os; os.setgroups(range(5000, 5000 + {count})); told = 0") as (pid, _):
                groups = row_of(pid, methods, tasks).groups
                assert groups is not None
                assert [int(group.id) for group in groups] == list(range(5000, 5000 + count))


def test_open_files_are_counted(tasks: TaskIterator, methods: Methods) -> None:
    with told_child("import os\nfor _ in range(150): os.dup(0)\ntold = len(os.listdir('/proc/self/fd')) - 1") as (
        pid,
        n,
    ):
        assert row_of(pid, methods, tasks).open_files == n


@pytest.mark.parametrize(("value", "name"), [(1, "user"), (0, "no")])
def test_dumpable(tasks: TaskIterator, methods: Methods, value: int, name: str) -> None:
    with told_child(f"import ctypes; told = ctypes.CDLL(None).prctl(4, {value}, 0, 0, 0)") as (pid, _):
        linux = row_of(pid, methods, tasks).linux
        assert linux and linux.dumpable == name


def test_neighbours_of_one_program_and_of_others(methods: Methods, tmp_path: Path) -> None:
    """The program keeps the path of an executable for the next process: it must notice another one."""
    names = ["one", "one", "two", "one", "two", "two"]
    for name in set(names):
        (tmp_path / name).write_bytes(Path("/bin/sleep").read_bytes())
        (tmp_path / name).chmod(0o755)
    children = [subprocess.Popen([str(tmp_path / name), "600"], cwd=tmp_path) for name in names]
    try:
        with open_tasks() as tasks:
            seen = methods.by_iterator(tasks)
        exes = [seen[child.pid].exe for child in children]
        assert [exe and exe.path for exe in exes] == [str(tmp_path / name) for name in names]
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_a_sweep_while_processes_come_and_go(tasks: TaskIterator, methods: Methods) -> None:
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for _ in range(30):
            for row in methods.by_iterator(tasks).values():
                assert row.argv is None or row.kernel is False
                assert row.linux and row.owner
    finally:
        stop.set()
        thread.join()


# Columns ------------------------------------------------------------------------------------------------------------


STEADY = (
    "ppid", "start", "started_at_ns", "uid", "euid", "gid", "egid", "session", "group", "threads", "priority", "nice",
    "name", "state", "exe", "argv", "virtual_bytes", "peak_virtual_bytes", "open_files",
)  # fmt: skip


def test_columns_say_what_rows_say() -> None:
    """For children that hold still, one with arguments only /proc can tell, and whatever the iterator leaves out."""
    pytest.importorskip("numpy", reason="columns need NumPy")
    from hostscope.platforms.columnar import columns_of

    processes = open_host().processes
    talker = subprocess.Popen(["/bin/sh", "-c", "read line", "sh", "x" * 9000], stdin=subprocess.PIPE)
    with told_child("told = 0") as (plain, _), talker:
        long = talker.pid
        columns = processes.columns(ProcessRequest(fields=FULL, method="iterator"), Tally())
        rows = {row.key.pid: row for row in processes.sweep(ProcessRequest(fields=FULL, method="proc"), Tally())}
        talker.communicate()
    for pid in (1, plain, long):
        said, place = columns_of([rows[pid]], FULL), columns["pid"].tolist().index(pid)
        assert {name: columns[name][place] for name in STEADY} == {name: said[name][0] for name in STEADY}


def test_columns_are_as_long_as_each_other_and_masked_where_nothing_is() -> None:
    np = pytest.importorskip("numpy", reason="columns need NumPy")

    columns = open_host().processes.columns(ProcessRequest(fields=FULL, method="iterator"), Tally())
    assert len({len(column) for column in columns.values()}) == 1
    assert list(columns["pid"]) == sorted(set(columns["pid"]))
    kernel = columns["ppid"] == 2
    assert np.ma.getmaskarray(columns["virtual_bytes"])[kernel].all()
    assert set(columns["exe"][kernel]) == {None} == set(columns["argv"][kernel])


# The raw records, the loader, privileges ----------------------------------------------------------------------------


def records(chunks: Iterator[bytes]) -> Iterator[tuple[int, ...]]:
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            fields = HEADER.unpack_from(chunk, at)
            yield fields
            at += fields[0]
        assert at == len(chunk), "a chunk ends with a whole record"


def test_what_is_not_wanted_is_not_read() -> None:
    with TaskIterator(Want(0)) as tasks:
        for fields in records(tasks.chunks()):
            _, flags, argv_size, sizes, fds = fields[:5]
            assert (argv_size, sizes, fds) == (0, bytes(8), 0xFFFF_FFFF)
            assert not flags & Flag.ARGV_UNREAD
            assert not any(fields[13:20])
            assert fields[20:23] == (bytes(32), bytes(64), bytes(32))


def test_pidfs_inodes_are_serials() -> None:
    try:
        fd = os.pidfd_open(os.getpid())
    except OSError as failed:
        assert failed.errno == errno.ENOSYS
        pytest.skip("this kernel has no pidfd_open")
    try:
        expected = os.fstat(fd).st_ino
    finally:
        os.close(fd)
    with TaskIterator(Want(0)) as tasks:
        serial = next(fields[23] for fields in records(tasks.chunks()) if fields[5] == os.getpid())
    assert serial in (expected, 0), "0: before Linux 6.9"


def test_a_second_sweep_ends_the_first() -> None:
    with TaskIterator(Want(0)) as tasks:
        first = tasks.chunks()
        next(first)
        assert len(list(tasks.chunks())) >= 1
        assert list(first) == []


def test_programs_that_do_not_come_from_the_cache_are_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOSTSCOPE_CACHE", str(tmp_path / "cache"))

    def notes() -> str:
        tally = Tally()
        assert list(open_host().processes.sweep(ProcessRequest(method="iterator"), tally))
        return " ".join(note for note in tally.notes if note.startswith("eBPF programs"))

    assert "no programs were cached" in notes()
    assert notes() == ""
    (cached,) = (tmp_path / "cache").glob("**/tasks-*.bin")
    cached.write_bytes(cached.read_bytes()[:-1] + b"x")
    assert "refused" in notes()
    assert notes() == ""


def test_a_sweep_that_nobody_reads_opens_nothing() -> None:
    processes, before = open_host().processes, descriptors()
    unread = processes.sweep(ProcessRequest(method="iterator"), Tally())
    assert descriptors() <= before
    assert next(unread)
    assert not descriptors() <= before
    del unread
    assert descriptors() <= before


def test_nothing_stays_open() -> None:
    before = descriptors()
    with TaskIterator(Want(0)) as tasks:
        next(tasks.chunks())
        assert not descriptors() <= before
    assert descriptors() <= before


def test_nothing_stays_open_when_the_kernel_refuses() -> None:
    image = program_cache.load_image().image
    broken = msgspec.structs.replace(
        image, programs=tuple(msgspec.structs.replace(p, code=bytes(len(p.code))) for p in image.programs)
    )
    before = descriptors()
    with pytest.raises(Unsupported, match="refuses the eBPF program tasks"):
        loader.Loaded(broken, "tasks", {"want": 0, "cpus": count_cpus()})
    assert descriptors() <= before


def test_the_lesser_program_stands_in_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    image = program_cache.load_image().image
    broken = tuple(msgspec.structs.replace(p, code=bytes(len(p.code))) if p.sleepable else p for p in image.programs)
    found = program_cache.Found(msgspec.structs.replace(image, programs=broken), None)
    monkeypatch.setattr(program_cache, "load_image", lambda: found)
    with TaskIterator(Want(0)) as tasks:
        assert tasks.plain_reason and "refuses" in tasks.plain_reason
        assert sum(1 for _ in records(tasks.chunks())) >= 1


def test_relocation_is_the_same_every_time() -> None:
    raw = program_cache.read_object("tasks")
    kernel = relocate.read_kernel_btf()
    assert relocate.build_image(raw, kernel) == relocate.build_image(raw, kernel) == program_cache.load_image().image


WITHOUT = """
from hostscope.errors import Denied, Unsupported
from hostscope.platforms.linux.iterator import TaskIterator, Want
try:
    TaskIterator(Want(0)); told = 'loaded'
except Denied as failed:
    told = ['denied', failed.hint]
except Unsupported as failed:
    told = ['unsupported', str(failed)]
"""


def test_without_privilege_it_is_denied() -> None:
    late = ("iterator", "relocate", "privileges")
    import_first = "".join(f"import json, hostscope.platforms.linux.{name}\n" for name in late)
    told = run_told(import_first + f"import os\nos.setresuid({65534}, {65534}, {65534})\n" + WITHOUT)
    assert told[0] == "denied"
    assert "CAP_BPF" in told[1]


def test_in_a_pid_namespace_of_its_own_it_is_unsupported() -> None:
    told = run_told(WITHOUT, prefix=["unshare", "--pid", "--fork", "--kill-child"])
    assert told == ["unsupported", "we are in a PID namespace of our own, where the iterator's pids mean nothing"]


def test_the_iterators_view_is_its_own_and_not_completed_from_proc() -> None:
    """What the iterator leaves out `sweep` reads from /proc; the comparison of views must not see that."""
    with open_tasks() as tasks:
        shown = {pid for chunk in tasks.chunks() for pid in record_pids(chunk)}
    view = next(view for view in open_host().processes.views() if view.name == "iterator")
    assert not view.gaps
    assert os.getpid() in view.pids & shown
    assert (1 in view.pids) == (1 in shown)
