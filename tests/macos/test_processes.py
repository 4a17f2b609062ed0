"""Every process of a scripted Mac, by both methods, with everything that may go wrong on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hostscope.errors import Denied, Gone, Mismatch, UsageError
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Process
from hostscope.model.request import FULL, MacosOptions, ProcessRequest
from hostscope.platforms.macos.clock import read_boot
from hostscope.platforms.macos.native import errnos, libproc
from hostscope.platforms.macos.privileges import Privileges
from hostscope.platforms.macos.processes import Processes
from hostscope.platforms.tally import Tally
from tests.macos.scripted import ANY, PLATFORM, RESTRICT, VALID, Darwin

ALL = ProcessRequest(fields=FULL)
Sweep = Callable[..., tuple[list[Process], Tally]]


@pytest.fixture
def processes(darwin: Darwin) -> Processes:
    return Processes(read_boot(), Privileges(identity=Nobody()))


class Nobody:
    """Without rights to raise."""

    def effective(self) -> int:
        return 501

    def invoker(self) -> tuple[int, int] | None:
        return None

    def become(self, uid: int) -> None:
        raise AssertionError

    def become_for_good(self, uid: int, gid: int) -> None:
        raise AssertionError


def swept(processes: Processes, request: ProcessRequest = ALL) -> tuple[dict[int, Process], Tally]:
    tally = Tally()
    rows = list(processes.sweep(request, tally))
    assert [row.pid for row in rows] == sorted(row.pid for row in rows)
    return {row.pid: row for row in rows}, tally


def gap_of(process: Process, field: str) -> Gap:
    return next(gap for gap in process.gaps if gap.field == field)


def test_a_row_is_whole(darwin: Darwin, processes: Processes) -> None:
    darwin.add(
        777, [b"Safari", b"", b"a b"], [b"A=1"], ppid=1, uid=501, ruid=501, svuid=0, gid=20, groups=(20, 12, 61),
        name=b"Safari Web Content", path=b"/Applications/Safari", cwd=b"/Users/ann", root=b"/jail", nice=-5,
        priority=46, policy=1, tdev=0x10000003, sid=700, pgid=776, fds=[{"fd": 0, "type": 1}, {"fd": 5, "type": 2}],
    )  # fmt: skip
    rows, tally = swept(processes)
    row = rows[777]
    assert row.gaps == ()
    assert (row.name, row.ppid, row.state, row.kernel) == ("Safari Web Content", 1, "running", False)
    assert row.exe is not None and row.exe.path == "/Applications/Safari"
    assert row.argv == ("Safari", "", "a b")
    assert (row.cwd, row.root) == ("/Users/ann", "/jail")
    assert row.owner is not None and row.owner.id == "501"
    assert row.ids is not None
    assert [a.id for a in (row.ids.user, row.ids.effective_user, row.ids.saved_user)] == ["501", "501", "0"]
    assert row.groups is not None and [group.id for group in row.groups] == ["20", "12", "61"]
    assert row.session is not None
    assert (row.session.session, row.session.group, row.session.terminal) == (700, 776, "ttys003")
    assert row.schedule is not None
    assert (row.schedule.policy, row.schedule.priority, row.schedule.nice) == ("timeshare", 46, -5)
    assert row.cpu is not None and (row.cpu.user_ns, row.cpu.system_ns) == (100_000_000, 50_000_000)
    assert (row.cpu.children_user_ns, row.cpu.children_system_ns) == (50_000_000, 25_000_000)
    assert row.memory is not None and (row.memory.virtual_bytes, row.memory.resident_bytes) == (1 << 32, 1 << 20)
    assert row.io is not None and (row.io.read_bytes, row.io.written_bytes) == (4096, 8192)
    assert row.activity is not None and (row.activity.minor_faults, row.activity.major_faults) == (280, 20)
    assert (row.threads, row.open_files) == (7, 2)
    assert row.started_at_ns == 1_700_000_000_000_042_000
    assert row.macos is not None
    assert (row.macos.architecture, row.macos.translated, row.macos.coalition) == ("arm64e", False, 77)
    assert (row.macos.footprint_bytes, row.macos.energy_nj) == (2 << 20, 1000)
    assert tally.method == "libproc" and tally.seen == 1


def test_intel_times_are_nanoseconds(darwin: Darwin, processes: Processes) -> None:
    darwin.library.fake_timebase(1, 1)
    darwin.add(5)
    row = next(iter(Processes(read_boot(), Privileges(identity=Nobody())).sweep(ALL, Tally())))
    assert row.cpu is not None and row.cpu.user_ns == 2_400_000


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"running": 0}, "sleeping"),
        ({"status": 4}, "stopped"),
        ({"status": 4, "proc_flags": 2}, "tracing-stop"),
        ({"status": 5}, "zombie"),
    ],
)
def test_states(darwin: Darwin, processes: Processes, fields: dict[str, int], state: str) -> None:
    darwin.add(5, **fields)
    assert swept(processes)[0][5].state == state


def test_zombies_have_an_identity_and_no_gaps(darwin: Darwin, processes: Processes) -> None:
    darwin.add(5, status=5, uid=501)
    row = swept(processes)[0][5]
    assert (row.exe, row.argv, row.cpu, row.macos, row.gaps) == (None, None, None, None, ())
    assert row.owner is not None and row.owner.id == "501"


def test_the_kernels_own_process(darwin: Darwin, processes: Processes) -> None:
    darwin.add(0, ppid=0, path=None, csflags=0, comm=b"kernel_task")
    darwin.add(1, ppid=0)
    rows, _ = swept(processes)
    kernel = rows[0]
    assert (kernel.kernel, kernel.exe, kernel.argv, kernel.gaps) == (True, None, None, ())
    assert kernel.session is not None and kernel.session.session == 0
    assert kernel.macos is not None and kernel.macos.system_daemon is not None and kernel.macos.debuggable is False
    assert (kernel.macos.system_daemon.value, kernel.macos.system_daemon.method) == ("kernel_task", "kernel")
    tally = Tally()
    without = ProcessRequest(skip_system_processes=True)
    assert [row.pid for row in processes.sweep(without, tally)] == [1] and tally.skipped == 1


def test_others_processes_come_from_the_table(darwin: Darwin, processes: Processes) -> None:
    """An ordinary user is refused counters and arguments, and told who is there, its program and its signature."""
    darwin.reset(uid=501)
    darwin.add(1, ppid=0, comm=b"launchd", path=b"/sbin/launchd", csflags=VALID | PLATFORM, identity=b"com.apple.x")
    darwin.add(600, uid=501)
    rows, tally = swept(processes)
    foreign, own = rows[1], rows[600]
    assert own.gaps == ()
    assert (foreign.name, foreign.ppid, foreign.started_at_ns) == ("launchd", 0, 1_700_000_000_000_042_000)
    assert foreign.exe is not None and foreign.exe.path == "/sbin/launchd"
    assert foreign.macos is not None and foreign.macos.signing is not None
    assert foreign.macos.signing.identifier == "com.apple.x"
    for field in ("cpu", "memory", "threads", "schedule", "activity", "io", "cwd", "root", "open_files", "state"):
        assert getattr(foreign, field) is None
        assert gap_of(foreign, field).reason is Reason.DENIED
    assert tally.denied == 0  # a row is not lost
    assert any("libproc" in note and "denied" in note for note in tally.notes)


def test_arguments_of_others_are_denied(darwin: Darwin, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """EINVAL for those of others, and for those that have none: we know which are not ours."""
    darwin.reset(uid=501)
    darwin.add(1, ppid=0)
    darwin.add(600, uid=501, args=b"")
    monkeypatch.setattr("os.geteuid", lambda: 501)
    rows, _ = swept(processes)
    assert gap_of(rows[1], "argv").reason is Reason.DENIED
    assert gap_of(rows[600], "argv").reason is Reason.UNAVAILABLE


def test_arguments_that_are_cut_off_are_a_gap(darwin: Darwin, processes: Processes) -> None:
    darwin.add(5, args=b"/bin/x\0\0one\0two\0", argc=5)
    row = swept(processes)[0][5]
    assert row.argv == ("one", "two")
    assert gap_of(row, "argv").reason is Reason.TRUNCATED


def test_a_process_that_dies_while_it_is_read_vanishes(darwin: Darwin, processes: Processes) -> None:
    darwin.add(5)
    darwin.add(6, dies_after=4)
    rows, tally = swept(processes)
    assert list(rows) == [5]
    assert (tally.seen, tally.vanished, tally.failed) == (2, 1, 0)


@pytest.mark.parametrize("calls", range(1, 24))
def test_wherever_it_dies_nothing_breaks(darwin: Darwin, processes: Processes, calls: int) -> None:
    darwin.add(5, dies_after=calls)
    rows, tally = swept(processes)
    assert len(rows) + tally.vanished == 1 and not tally.failed
    if rows:
        assert not any(gap.reason is Reason.GONE for gap in rows[5].gaps)


def test_a_list_that_grows_is_read_whole(darwin: Darwin, processes: Processes) -> None:
    for pid in range(1, 51):
        darwin.add(pid)
    darwin.grow(100)
    rows, tally = swept(processes, ProcessRequest(fields=frozenset({"cpu"})))
    assert set(range(1, 51)) <= set(rows) and len(rows) >= 150 and not tally.failed


FAILURES = [
    ("PIDPATH", 0, errnos.ENOENT, "exe", Reason.UNAVAILABLE),
    ("PIDPATH", 0, errnos.EPERM, "exe", Reason.DENIED),
    ("PIDPATH", 0, errnos.EOVERFLOW, "exe", Reason.TRUNCATED),
    ("PIDINFO", libproc.PROC_PIDVNODEPATHINFO, errnos.EPERM, "cwd", Reason.DENIED),
    ("PIDINFO", libproc.PROC_PIDVNODEPATHINFO, errnos.EPERM, "root", Reason.DENIED),
    ("PIDINFO", libproc.PROC_PIDLISTFDS, errnos.EACCES, "open_files", Reason.DENIED),
    ("PIDINFO", libproc.PROC_PIDARCHINFO, errnos.EINVAL, "macos.architecture", Reason.UNAVAILABLE),
    ("PIDINFO", libproc.PROC_PIDCOALITIONINFO, errnos.ENOTSUP, "macos.coalition", Reason.UNSUPPORTED),
    ("RUSAGE", ANY, errnos.EPERM, "io", Reason.DENIED),
    ("GETSID", 0, errnos.EPERM, "session.session", Reason.DENIED),
    ("RESPONSIBLE", 0, errnos.EPERM, "macos.responsible_pid", Reason.DENIED),
    ("CSOPS", 0, errnos.EPERM, "macos.signing", Reason.DENIED),
    ("CSOPS", 5, errnos.EINVAL, "macos.signing.cdhash", Reason.UNAVAILABLE),
    ("CSOPS", 11, errnos.EPERM, "macos.signing.identifier", Reason.DENIED),
    ("CSOPS", 14, errnos.EPERM, "macos.signing.team_id", Reason.DENIED),
    ("CSOPS", 7, errnos.EPERM, "macos.entitlements", Reason.DENIED),
    ("CSOPS", 7, errnos.ERANGE, "macos.entitlements", Reason.TRUNCATED),
    ("SANDBOX", 0, errnos.EPERM, "macos.sandboxed", Reason.DENIED),
    ("SYSCTL", 49, errnos.EIO, "argv", Reason.UNAVAILABLE),
]


@pytest.mark.parametrize(("function", "detail", "code", "field", "reason"), FAILURES)
def test_each_call_that_fails_costs_its_field_only(
    darwin: Darwin, processes: Processes, function: str, detail: int, code: int, field: str, reason: Reason
) -> None:
    darwin.add(5)
    darwin.fail(function, code, detail=detail)
    rows, tally = swept(processes)
    assert gap_of(rows[5], field).reason is reason
    assert {gap.field for gap in rows[5].gaps} <= {field, "cwd", "root"}
    assert tally.failed == 0
    assert any(str(reason) in note for note in tally.notes)  # statistics tell the kinds apart


def test_an_answer_of_another_size_is_told(darwin: Darwin, processes: Processes) -> None:
    darwin.add(5)
    darwin.fail("PIDINFO", errnos.ENOMEM, detail=libproc.PROC_PIDTASKALLINFO)
    row = swept(processes)[0][5]
    assert gap_of(row, "cpu").reason is Reason.TRUNCATED and row.name == "program"


@pytest.mark.parametrize(("version", "energy"), [(6, 1000), (4, 1000), (2, None)])
def test_usage_by_the_newest_layout_that_the_kernel_has(
    darwin: Darwin, processes: Processes, version: int, energy: int | None
) -> None:
    darwin.library.fake_newest_usage(version)
    darwin.add(5)
    darwin.add(6)
    rows, _ = swept(processes)
    for row in rows.values():
        assert row.macos is not None
        assert (row.macos.footprint_bytes, row.macos.energy_nj) == (2 << 20, energy)
    assert darwin.calls("RUSAGE", 6) == (2 if version == 6 else 1)  # found out once


def test_refused_list_ends_the_request(darwin: Darwin, processes: Processes) -> None:
    darwin.fail("LISTPIDS", errnos.EPERM)
    with pytest.raises(Denied):
        list(processes.sweep(ALL, Tally()))


def test_the_table_alone(darwin: Darwin, processes: Processes) -> None:
    darwin.reset(uid=501)
    darwin.add(1, ppid=0, comm=b"launchd", status=2)
    darwin.add(7, uid=501, argv=[b"x", b"y"])
    rows, tally = swept(processes, ProcessRequest(fields=FULL, method="sysctl"))
    assert tally.method == "sysctl"
    assert list(rows) == [1, 7] and rows[7].argv == ("x", "y")
    assert rows[1].owner is not None and rows[1].owner.id == "0"
    for field in ("exe", "cpu", "memory", "state", "open_files"):
        assert gap_of(rows[7], field).reason is Reason.UNSUPPORTED
    for function in ("PIDINFO", "PIDPATH", "LISTPIDS", "CSOPS", "RUSAGE"):
        assert darwin.calls(function) == 0
    assert rows[7].groups is not None


def test_the_table_knows_the_dead_and_the_stopped(darwin: Darwin, processes: Processes) -> None:
    darwin.add(7, status=5)
    darwin.add(8, status=4, flags=0x800)
    rows, _ = swept(processes, ProcessRequest(method="sysctl"))
    assert [row.state for row in rows.values()] == ["zombie", "tracing-stop"]


def test_unknown_methods_are_refused(processes: Processes) -> None:
    with pytest.raises(UsageError):
        processes.sweep(ProcessRequest(method="proc"), Tally())


def test_one_process(darwin: Darwin, processes: Processes) -> None:
    darwin.add(5)
    row = processes.read(5, ALL)
    assert row.pid == 5 and row.gaps == ()
    with pytest.raises(Gone):
        processes.read(6, ALL)


def test_detail(darwin: Darwin, processes: Processes, tmp_path: Path) -> None:
    darwin.add(
        5, [b"x"], [b"HOME=/root", b"EMPTY="], threads=2, priority=31,
        fds=[
            {"fd": 0, "type": 1, "flags": 1, "mode": 0o020620, "path": b"/dev/ttys003", "inode": 9},
            {"fd": 3, "type": 1, "flags": 2 | 8, "mode": 0o100644, "path": b"/var/log/x", "offset": 77, "inode": 12},
            {"fd": 4, "type": 1, "flags": 1, "mode": 0o100644, "path": None},
            {"fd": 5, "type": 6, "flags": 2, "inode": 0x1000},
            {"fd": 6, "type": 5},
        ],
    )  # fmt: skip
    key = processes.read(5, ALL).key
    parts = frozenset({"open_files", "maps", "threads", "environment"})
    found = processes.detail(key, parts)
    assert found.gaps == ()
    assert found.environment is not None
    assert [(variable.name, variable.value) for variable in found.environment] == [("HOME", "/root"), ("EMPTY", "")]
    assert found.open_files is not None
    terminal, log, unlinked, pipe, queue = found.open_files
    assert (terminal.kind, terminal.path, terminal.mode) == ("device", "/dev/ttys003", "r")
    assert (log.kind, log.mode, log.position, log.inode) == ("file", "wa", 77, 12)
    assert (unlinked.deleted, unlinked.path) == (True, "")
    assert (pipe.kind, pipe.path, queue.path) == ("pipe", "pipe:0x1000", "kqueue")
    assert found.threads is not None
    assert [(thread.name, thread.state) for thread in found.threads] == [("main", "sleeping"), ("", "sleeping")]
    assert found.maps is not None
    text, data = found.maps
    assert (text.start, text.permissions, text.inode, text.device) == (0x100000000, "r-xp", 4711, "01:04")
    assert (text.path, data.permissions, data.path) == ("/usr/local/bin/program", "rw-p", None)


def test_detail_of_what_is_refused(darwin: Darwin, processes: Processes) -> None:
    darwin.reset(uid=501)
    darwin.add(1)
    key = read_boot().key(1, 1_700_000_000_000_042)
    found = processes.detail(key, frozenset({"open_files", "maps", "threads"}))
    assert {gap.field: gap.reason for gap in found.gaps} == dict.fromkeys(
        ("open_files", "maps", "threads"), Reason.DENIED
    )


def test_detail_of_another_process_with_the_same_pid(darwin: Darwin, processes: Processes) -> None:
    darwin.add(5)
    with pytest.raises(Mismatch):
        processes.detail(read_boot().key(5, 1), frozenset({"maps"}))
    with pytest.raises(Gone):
        processes.detail(read_boot().key(6, 1), frozenset({"maps"}))


@pytest.mark.parametrize(
    ("flags", "reasons"), [(VALID | RESTRICT, [Reason.DENIED]), (VALID, []), (None, [Reason.UNAVAILABLE])]
)
def test_an_environment_that_is_empty_and_one_that_the_kernel_leaves_out(
    darwin: Darwin, processes: Processes, flags: int | None, reasons: list[Reason]
) -> None:
    darwin.add(5, argv=[b"a"], env=[], csflags=flags or 0)
    if flags is None:
        darwin.fail("CSOPS", errnos.EPERM)
    found = processes.detail(processes.read(5, ProcessRequest(fields=frozenset())).key, frozenset({"environment"}))
    assert (found.environment, [gap.reason for gap in found.gaps]) == ((), reasons)


def test_views_show_what_hides(darwin: Darwin, processes: Processes) -> None:
    darwin.add(0, ppid=0)
    darwin.add(5)
    views = {view.name: view.pids for view in processes.views()}
    assert views == dict.fromkeys(("libproc", "sysctl", "probe"), frozenset({0, 5}))


def test_columns(darwin: Darwin, processes: Processes) -> None:
    darwin.add(5)
    darwin.add(6, status=5)
    columns = processes.columns(ProcessRequest(), Tally())
    assert columns["pid"].tolist() == [5, 6]
    assert columns["resident_bytes"].tolist() == [1 << 20, None]


def test_names_that_are_no_text_survive(darwin: Darwin, processes: Processes) -> None:
    from hostscope.model.text import encode

    darwin.add(5, [b"\xff\xfe", b"caf\xc3\xa9"], comm=b"\x80name", path=b"/tmp/\xf4\x8e\xba\x80")
    row = swept(processes)[0][5]
    assert encode(row.name) == b"\x80name"
    assert row.argv is not None and [encode(text) for text in row.argv] == [b"\xff\xfe", b"caf\xc3\xa9"]
    assert row.exe is not None and encode(row.exe.path) == b"/tmp/\xf4\x8e\xba\x80"


def test_launchd_jobs_are_asked_for_once(darwin: Darwin) -> None:
    asked = []

    def jobs() -> dict[int, str]:
        asked.append(1)
        return {5: "com.example.job"}

    darwin.add(5)
    darwin.add(6)
    made = Processes(read_boot(), Privileges(identity=Nobody()), jobs)
    rows, _ = swept(made)
    assert [row.macos.launchd_job if row.macos else "" for row in rows.values()] == ["com.example.job", None]
    assert asked == [1]
    swept(made, ProcessRequest())
    assert asked == [1]  # not for those who did not ask


def test_launchd_that_does_not_answer_is_a_gap(darwin: Darwin) -> None:
    from hostscope.errors import Unavailable

    def jobs() -> dict[int, str]:
        raise Unavailable("launchctl does not answer")

    darwin.add(5)
    rows, _ = swept(Processes(read_boot(), Privileges(identity=Nobody()), jobs))
    assert gap_of(rows[5], "macos.launchd_job").reason is Reason.UNAVAILABLE


def test_nothing_is_asked_that_was_not_asked_for(darwin: Darwin, processes: Processes) -> None:
    darwin.add(5)
    swept(processes, ProcessRequest(fields=frozenset({"cpu"})))
    for function in ("PIDPATH", "RUSAGE", "CSOPS", "CSR", "SANDBOX", "SYSCTL", "GETSID", "RESPONSIBLE"):
        assert darwin.calls(function) == 0
    assert darwin.calls("PIDINFO") == darwin.calls("PIDINFO", libproc.PROC_PIDTASKALLINFO) == 2


CALLS = {
    "collect_code_signing": [("CSOPS", 0), ("CSOPS", 5), ("CSOPS", 11), ("CSOPS", 14)],
    "collect_entitlements": [("CSOPS", 16), ("CSOPS", 7)],
    "check_sip_protection": [("CSR", 0)],
    "handle_sandboxed_processes": [("SANDBOX", 0)],
}


@pytest.mark.parametrize("switch", CALLS)
@pytest.mark.parametrize("on", [True, False])
def test_switches_by_the_calls_that_are_made(darwin: Darwin, processes: Processes, switch: str, on: bool) -> None:
    darwin.add(5)
    options = MacosOptions(**{switch: on})
    _, tally = swept(processes, ProcessRequest(fields=FULL, macos=options))
    for name, calls in CALLS.items():
        expected = on if name == switch else True
        assert all(bool(darwin.calls(*call)) is expected for call in calls), name
    assert any("not asked for" in note for note in tally.notes) is not on


@pytest.mark.parametrize("on", [True, False])
def test_switch_of_bundles(darwin: Darwin, processes: Processes, tmp_path: Path, on: bool) -> None:
    program = make_bundle(tmp_path)
    darwin.add(5, path=bytes(program))
    rows, tally = swept(processes, ProcessRequest(fields=FULL, macos=MacosOptions(collect_bundle_info=on)))
    macos = rows[5].macos
    assert macos is not None and (macos.bundle is not None) is on
    assert any("bundles" in note.partition("calls:")[2] for note in tally.notes) is on


def make_bundle(folder: Path) -> Path:
    import plistlib

    contents = folder / "Some.app" / "Contents"
    (contents / "MacOS").mkdir(parents=True)
    info = {"CFBundleIdentifier": "com.example.some", "CFBundleName": "Some", "LSUIElement": "1"}
    (contents / "Info.plist").write_bytes(plistlib.dumps(info, fmt=plistlib.FMT_BINARY))
    return contents / "MacOS" / "Some"


def test_sockets_of_one_process(darwin: Darwin, processes: Processes) -> None:
    import ctypes

    from hostscope.platforms.macos.native import descriptors

    info = descriptors.socket_info()
    info.soi_family, info.soi_kind, info.soi_protocol, info.soi_type, info.soi_so = 2, 2, 6, 1, 0x1234
    info.soi_proto.pri_tcp.tcpsi_ini.insi_vflag, info.soi_proto.pri_tcp.tcpsi_ini.insi_lport = 1, 0x5000
    info.soi_proto.pri_tcp.tcpsi_state = 1
    darwin.add(5, fds=[{"fd": 9, "type": 2, "socket": ctypes.addressof(info)}])
    darwin.add(6, fds=[{"fd": 3, "type": 2, "socket": ctypes.addressof(info)}])
    found = processes.detail(processes.read(5, ALL).key, frozenset({"sockets"}))
    assert found.sockets is not None
    (socket,) = found.sockets
    assert (socket.protocol, socket.state, socket.local.port if socket.local else 0) == ("tcp", "listen", 80)
    assert [(owner.key.pid, owner.name, owner.fd) for owner in socket.owners or ()] == [(5, "program", 9)]
    darwin.fail("PIDINFO", errnos.EPERM, pid=5, detail=libproc.PROC_PIDLISTFDS)
    refused = processes.detail(found.sockets[0].owners[0].key, frozenset({"sockets"}))  # type: ignore[index]
    assert refused.sockets is None and refused.gaps[0].reason is Reason.DENIED


def test_ten_thousand(darwin: Darwin, processes: Processes) -> None:
    """All of them, each asked once and looked at twice; what it costs is measured in tests/bench/macos.py."""
    for pid in range(1, 10_001):
        darwin.add(pid, path=b"/bin/p%d" % (pid % 9))
    rows, tally = swept(processes, ProcessRequest())
    assert len(rows) == tally.seen == 10_000 and not tally.vanished and not tally.failed
    assert darwin.calls("PIDINFO", libproc.PROC_PIDTASKALLINFO) == 20_000
    assert darwin.calls("PIDPATH") == darwin.calls("SYSCTL", 49) == 10_000
    assert darwin.calls("SYSCTL", 14) == 2
