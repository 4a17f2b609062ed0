"""What is recorded comes back, and nothing is left half written."""

import gzip
import json
import os
import threading
from pathlib import Path

import pytest

from hostscope.errors import Denied, Gone, Mismatch, NativeError, Refused, Unavailable, Unsupported, UsageError
from hostscope.model.container import Container
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Executable
from hostscope.model.request import ENHANCED, FULL, ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.replay.control import Control
from hostscope.platforms.replay.host import open_host
from hostscope.platforms.replay.layout import Failure
from hostscope.platforms.replay.translate import error, failure
from hostscope.platforms.replay.writer import record
from hostscope.platforms.tally import Tally
from tests.privacy import is_private
from tests.unit.platforms.replay.hosts import (
    ABILITY,
    COUNTERS,
    DIGEST,
    INFO,
    INIT,
    OF_A_USER,
    OWNER,
    REQUEST,
    ROWS,
    SECRET,
    SSH,
    WORKER,
    key,
    known_host,
    unable_host,
)

EVERYTHING = ProcessRequest(enhanced=True)


def replayed(tmp_path: Path, host: Host, request: ProcessRequest = REQUEST, reveal: bool = True) -> Host:
    path = str(tmp_path / "a.jsonl")
    record(host, path, request, reveal)
    return open_host(path)


def test_rows_come_back_equal(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host())
    assert tuple(host.processes.sweep(REQUEST, Tally())) == ROWS


def test_counts_of_the_recording_come_back(tmp_path: Path) -> None:
    tally = Tally()
    list(replayed(tmp_path, known_host()).processes.sweep(REQUEST, tally))
    assert (tally.method, tally.method_reason) == ("proc", "needs CAP_BPF")
    assert (tally.seen, tally.denied, tally.vanished, tally.failed) == (3, 2, 1, 0)
    assert tally.hidden is None
    assert any(note.startswith("recorded at 2") for note in tally.notes)
    assert "when it was recorded: SeDebugPrivilege enabled" in tally.notes
    assert tally.effects == []


def test_recorder_counts_rows_and_gaps(tmp_path: Path) -> None:
    coverage = record(known_host(), str(tmp_path / "a"), REQUEST)
    assert coverage.rows == 3
    assert [(gap.field, gap.reason, gap.rows) for gap in coverage.gaps] == [("cwd", Reason.DENIED, 1)]
    assert "digest" in coverage.not_asked


def test_secrets_are_masked_unless_revealed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record(known_host(), str(path), REQUEST)
    assert b"hunter2" not in path.read_bytes()
    tally = Tally()
    rows = list(open_host(str(path)).processes.sweep(REQUEST, tally))
    assert rows[2].argv is not None and rows[2].argv[0] == "mysql"
    assert any("masked" in note for note in tally.notes)
    record(known_host(), str(path), REQUEST, reveal=True)
    assert b"hunter2" in path.read_bytes()


def test_every_other_answer_comes_back(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host(), EVERYTHING)
    assert host.system.info() == INFO
    assert host.counters.read() == COUNTERS
    assert host.security.state().lsms == ("apparmor",)
    assert host.privileges.held() == ("sys_ptrace",)
    assert host.privileges.abilities() == (ABILITY,)
    assert host.files.digest(SECRET.key, Executable("/usr/bin/mysql")) == DIGEST
    assert host.packages.owner("/usr/bin/mysql") == OWNER
    assert host.packages.owner("/usr/lib/systemd/systemd") is None
    assert host.containers.describe(Container("podman", "ab" * 32)).image == "nginx:1"
    assert host.containers.describe(Container("lxc", "x")) == Container("lxc", "x")


def test_failures_come_back_as_the_same_errors(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host(), EVERYTHING)
    with pytest.raises(Unavailable, match="systemd does not answer") as raised:
        host.services.services()
    assert raised.value.hint == "is it running?"
    with pytest.raises(Denied, match="process 1"):
        host.files.digest(INIT.key, Executable("/usr/lib/systemd/systemd"))


def test_what_was_not_asked_is_not_in_the_recording(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host())
    with pytest.raises(Unsupported, match="not in this recording"):
        host.files.digest(SECRET.key, Executable("/usr/bin/mysql"))
    with pytest.raises(Unsupported, match="not in this recording"):
        host.processes.detail(SECRET.key, frozenset({"maps"}))
    for ask in (
        host.processes.views,
        lambda: host.services.changes(threading.Event(), 1.0),
        lambda: host.privileges.using(("sys_ptrace",), "test"),
    ):
        with pytest.raises(Unsupported):
            ask()


def test_a_host_that_answers_little_is_recorded(tmp_path: Path) -> None:
    host = replayed(tmp_path, unable_host())
    assert tuple(host.processes.sweep(REQUEST, Tally())) == ROWS
    assert tuple(host.services.services()) == (SSH, OF_A_USER)
    assert host.services.service("ssh.service") == SSH
    with pytest.raises(Gone):
        host.services.service("cron.service")
    with pytest.raises(Unsupported, match="not here"):
        host.system.info()
    with pytest.raises(Unsupported, match="not here"):
        host.containers.containers()


def test_one_process(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host())
    assert host.processes.read(70, REQUEST) == SECRET
    with pytest.raises(Gone, match="no such process"):
        host.processes.read(71, REQUEST)


def test_fields_that_were_not_recorded_are_gaps(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host(), ProcessRequest(fields=FULL - {"io", "namespaces"}))
    row = next(iter(host.processes.sweep(ProcessRequest(fields=FULL | {"memory_detail"}), Tally())))
    missing = [gap.field for gap in row.gaps if gap.reason is Reason.UNAVAILABLE]
    assert missing == ["io", "memory.proportional_bytes", "memory.unique_bytes", "linux.namespaces", "linux.inner_pid"]
    assert row.memory == INIT.memory


def test_fields_that_are_not_wanted_are_left_out(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host())
    rows = list(host.processes.sweep(ProcessRequest(fields=FULL - {"argv", "cwd", "cgroup"}), Tally()))
    assert [row.argv for row in rows] == [None, None, None]
    assert rows[0].linux is not None and rows[0].linux.cgroup is None and rows[0].linux.oom_score == 0
    assert rows[0].owner == INIT.owner
    assert rows[2].container is None and rows[0].service is None
    assert rows[2].gaps == ()


def test_columns(tmp_path: Path) -> None:
    columns = replayed(tmp_path, known_host()).processes.columns(REQUEST, Tally())
    assert list(columns["pid"]) == [1, 2, 70]
    assert list(columns["resident_bytes"].mask) == [False, True, True]


def test_method_of_the_recording(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host())
    assert len(list(host.processes.sweep(ProcessRequest(method="proc"), Tally()))) == 3
    with pytest.raises(UsageError, match="iterator"):
        host.processes.sweep(ProcessRequest(method="iterator"), Tally())


def test_a_recording_is_one_look(tmp_path: Path) -> None:
    host = replayed(tmp_path, known_host())
    with pytest.raises(Unsupported, match="one moment"):
        host.processes.sweep(ProcessRequest(sample_ns=10**9), Tally())


def test_gzip_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    record(known_host(), str(path), REQUEST, reveal=True)
    with gzip.open(path) as file:
        assert json.loads(next(file))["schema"] == "hostscope.recording/1"
    # The content tells, not the name.
    renamed = path.rename(tmp_path / "renamed")
    assert tuple(open_host(str(renamed)).processes.sweep(REQUEST, Tally())) == ROWS


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_only_the_owner_may_read_it(tmp_path: Path, name: str) -> None:
    before = os.umask(0)
    try:
        record(known_host(), str(tmp_path / name), REQUEST)
    finally:
        os.umask(before)
    assert is_private(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt(), Denied("no"), NativeError("bpf", 22, "Invalid argument")])
def test_an_interrupted_recording_leaves_nothing(tmp_path: Path, name: str, failure: BaseException) -> None:
    with pytest.raises(type(failure)) as raised:
        record(known_host(failure=failure), str(tmp_path / name), REQUEST)
    assert raised.value is failure
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_recording_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record(known_host(), str(path), REQUEST)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        record(known_host(failure=KeyboardInterrupt()), str(path), REQUEST)
    assert path.read_bytes() == before


def test_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        record(known_host(), str(tmp_path / "missing" / "a"), REQUEST)
    with pytest.raises(UsageError, match="not a regular file"):
        record(known_host(), str(tmp_path), REQUEST)


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    full = OSError(28, "No space left on device")
    with pytest.raises(UsageError, match=r"cannot write .*: No space left on device"):
        record(known_host(failure=full), str(tmp_path / "a"), REQUEST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "raised",
    [Gone("gone"), Denied("no", "root"), Mismatch("other"), Unsupported("never"), NativeError("bpf", 22, "Invalid")],
)
def test_errors_survive_translation(raised: Gone) -> None:
    back = error(failure(raised))
    assert type(back) is type(raised)
    assert (str(back), back.hint) == (str(raised), raised.hint)


def test_an_unknown_error_is_unavailable() -> None:
    assert isinstance(error(Failure("Eruption", "hot")), Unavailable)
    assert str(error(failure(Refused("no", "rule")))) == "Refused: no"


def test_nobody_acts_on_the_past() -> None:
    control = Control()
    for act in (
        lambda: control.terminate(key(1), True),
        lambda: control.suspend(key(1)),
        lambda: control.resume(key(1)),
    ):
        with pytest.raises(Unsupported, match="recording"):
            act()


def test_kernel_threads_and_odd_names_survive(tmp_path: Path) -> None:
    rows = list(replayed(tmp_path, known_host()).processes.sweep(ProcessRequest(fields=ENHANCED), Tally()))
    assert rows[1].kernel is True
    assert rows[2].name == "mysql\n\U0010eeff"
    assert Gap("cwd", Reason.DENIED, "needs CAP_SYS_PTRACE") in rows[2].gaps
    assert WORKER.argv is rows[1].argv is None
