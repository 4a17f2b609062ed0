"""Acting on processes, their events, the host's counters, on the scripted system."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from hostscope.errors import Denied, Gone, Mismatch, Unavailable, Unsupported, UsageError
from hostscope.model.event import EventRequest
from hostscope.model.process import Account, Executable, Process
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.macos import signalling
from hostscope.platforms.macos.clock import Boot, read_boot
from hostscope.platforms.macos.containers import Containers
from hostscope.platforms.macos.control import Control
from hostscope.platforms.macos.counters import Counters
from hostscope.platforms.macos.events import Events
from hostscope.platforms.macos.native import errnos, kqueue, sip, spawning
from hostscope.platforms.macos.process_list import read_key, read_processes
from hostscope.platforms.macos.process_notes import ProcessNotes
from hostscope.platforms.macos.syscalls import Syscalls
from hostscope.platforms.macos.system import System
from hostscope.platforms.tally import Tally
from tests.macos.scripted import PLATFORM, RUNTIME, VALID, Darwin
from tests.macos.scripted_mach import Mach, Queues

LOGIN = "/System/Library/CoreServices/loginwindow.app/Contents/MacOS/loginwindow"


@pytest.fixture
def boot(darwin: Darwin) -> Boot:
    return read_boot()


@pytest.fixture
def queues(darwin: Darwin) -> Queues:
    return Queues(darwin)


def row(boot: Boot, pid: int, path: str, uid: str = "0") -> Process:
    return Process(read_key(boot, pid), 1, path.rpartition("/")[2], exe=Executable(path), owner=Account(uid, None))


# Who a process is -----------------------------------------------------------------------------------------------------


@pytest.fixture
def permitted(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Pids that may be signalled; kill(2) of this host is never called."""
    allowed: set[int] = set()

    def kill(pid: int, number: int) -> None:
        assert number == 0
        if pid not in allowed:
            raise PermissionError(errnos.EPERM, "no")

    monkeypatch.setattr(signalling.os, "kill", kill)
    return allowed


def test_the_systems_own_are_known_by_their_signature(darwin: Darwin, boot: Boot, permitted: set[int]) -> None:
    darwin.add(1, csflags=VALID | PLATFORM)
    darwin.add(88, csflags=VALID | PLATFORM)
    permitted |= {88}
    control = Control(boot)
    launchd = control.identify(row(boot, 1, "/sbin/launchd"))
    assert launchd.role is not None and (launchd.role.name, launchd.role.service) == ("launchd", True)
    login = control.identify(row(boot, 88, LOGIN, "501"))
    assert login.role is not None and (login.role.name, login.role.session) == ("login window", True)
    assert (launchd.permitted, login.permitted, login.ended) == (False, True, False)


@pytest.mark.parametrize("flags", [VALID | RUNTIME, PLATFORM, 0])
def test_a_name_and_a_path_prove_nothing(darwin: Darwin, boot: Boot, permitted: set[int], flags: int) -> None:
    darwin.add(88, csflags=flags)
    assert Control(boot).identify(row(boot, 88, LOGIN)).role is None


def test_a_daemon_of_another_user_has_no_role(darwin: Darwin, boot: Boot, permitted: set[int]) -> None:
    darwin.add(88, csflags=VALID | PLATFORM)
    assert Control(boot).identify(row(boot, 88, "/usr/libexec/opendirectoryd", "501")).role is None


def test_without_a_signature_nothing_is_recognised(darwin: Darwin, boot: Boot, permitted: set[int]) -> None:
    darwin.add(88, csflags=VALID | PLATFORM)
    darwin.fail("CSOPS", errnos.EPERM, 88)
    assert Control(boot).identify(row(boot, 88, LOGIN)).role is None


def test_a_zombie_has_ended(darwin: Darwin, boot: Boot, permitted: set[int]) -> None:
    darwin.add(99, status=5)
    assert Control(boot).identify(row(boot, 99, "/bin/x")).ended


def test_a_key_is_compared_before_anything(darwin: Darwin, boot: Boot, permitted: set[int]) -> None:
    darwin.add(99)
    control, key = Control(boot), read_key(boot, 99)
    assert control.pin(key) == key
    other = boot.key(99, key.start + 1)
    for act in (
        control.pin,
        control.suspend,
        control.resume,
        control.registers,
        lambda key: control.terminate(key, True),
    ):
        with pytest.raises(Mismatch):
            act(other)
    darwin.kill(99)
    with pytest.raises(Gone):
        control.pin(key)


# Waiting --------------------------------------------------------------------------------------------------------------


def test_waiting_ends_with_the_process(darwin: Darwin, boot: Boot, queues: Queues) -> None:
    darwin.add(99)
    key, control = read_key(boot, 99), Control(boot)
    assert control.wait(key, 0) is False
    queues.begin()
    queues.happen(99, kqueue.NOTE_EXIT)
    assert control.wait(key, 5) is True


def test_what_is_gone_has_ended(darwin: Darwin, boot: Boot, queues: Queues) -> None:
    darwin.add(99)
    key = read_key(boot, 99)
    darwin.kill(99)
    assert Control(boot).wait(key, 5) is True


def test_another_process_of_the_pid_means_that_it_has_ended(darwin: Darwin, boot: Boot, queues: Queues) -> None:
    darwin.add(99)
    assert Control(boot).wait(boot.key(99, 1), 5) is True


# Starting -------------------------------------------------------------------------------------------------------------


def test_a_program_waits_and_ends_with_its_block(darwin: Darwin, boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    darwin.add(321, comm=b"ls")
    sent: list[tuple[int, int]] = []
    asked: list[Any] = []
    monkeypatch.setattr(signalling.os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(signalling.os, "waitpid", lambda pid, options: (pid, 0x300))

    def start(pid: Any, path: Any, *others: Any) -> int:
        asked.append(path)
        pid._obj.value = 321
        return 0

    for name, answer in (
        ("posix_spawnp", start),
        *((name, lambda *a: 0) for name in spawning.SIGNATURES if "attr" in name),
    ):
        monkeypatch.setattr(spawning.spawning, name, answer, raising=False)
    control = Control(boot)
    with control.spawn(("ls", "-l")) as waiting:
        assert (waiting.key.pid, waiting.begins_with) == (321, None)
        waiting.release()
        assert waiting.wait() == 3
    assert sent == [(321, 19)]
    with control.spawn(("ls",)):
        pass
    assert sent[1:] == [(321, 9)]
    assert asked == [b"ls", b"ls"]


def test_programs_that_cannot_be_started(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hostscope.platforms.macos.spawn.start_suspended", lambda *a: (_ for _ in ()).throw(errnos.error(2, "no"))
    )
    for argv in ((), ("nothing",)):
        with pytest.raises(UsageError), Control(boot).spawn(argv):
            pass


def test_calls_cannot_be_traced(darwin: Darwin, boot: Boot) -> None:
    with pytest.raises(Unsupported, match="ptrace"):
        Control(boot).trace(TraceRequest(), threading.Event(), Tally())
    with pytest.raises(Unsupported, match="restricts DTrace to"):
        Syscalls().watch(TraceRequest(), threading.Event(), Tally())
    darwin.protection(sip.CSR_ALLOW_UNRESTRICTED_DTRACE)
    with pytest.raises(Unsupported, match="allowed here") as refused:
        Syscalls().watch(TraceRequest(), threading.Event(), Tally())
    assert "dtruss" in (refused.value.hint or "")


# Events by kqueue -----------------------------------------------------------------------------------------------------


def notes(boot: Boot, *kinds: str) -> ProcessNotes:
    wanted = frozenset(kinds or ("start", "exec", "exit"))
    return ProcessNotes(boot, read_processes, wanted, lambda pid: "/bin/ls")


def happened(source: ProcessNotes) -> list[tuple[int, str, Any]]:
    return [(key.pid if key else 0, type(body).__name__, body) for key, body in source.happenings(0)]


def test_everybody_is_watched_and_told_of(darwin: Darwin, boot: Boot, queues: Queues) -> None:
    darwin.add(1, ppid=0, comm=b"launchd")
    darwin.add(50, comm=b"zsh", uid=501)
    source = notes(boot)
    try:
        assert queues.watched(50) & kqueue.NOTE_EXEC
        darwin.add(51, [b"ls", b"-l"], comm=b"zsh", ppid=50, uid=501)
        queues.happen(50, kqueue.NOTE_FORK)
        ((pid, kind, start),) = happened(source)
        assert (pid, kind, start.parent.pid, start.uid) == (51, "ProcessStart", 50, 501)
        queues.happen(51, kqueue.NOTE_EXEC)
        queues.happen(51, kqueue.NOTE_EXIT | kqueue.NOTE_EXITSTATUS, 0x0200)
        (_, _, became), (_, _, ended) = happened(source)
        assert (became.name, became.exe, ended.name, ended.code, ended.signal) == ("ls", "/bin/ls", "ls", 2, None)
        assert became.argv == ("ls", "-l")
        queues.happen(50, kqueue.NOTE_EXIT | kqueue.NOTE_EXITSTATUS, 9 | 0x80)
        ((_, _, killed),) = happened(source)
        assert (killed.code, killed.signal, killed.core_dumped) == (None, 9, True)
    finally:
        source.close()


def test_arguments_that_cannot_be_read_are_unknown(darwin: Darwin, boot: Boot, queues: Queues) -> None:
    darwin.add(50, [b"ls"])
    darwin.fail("SYSCTL", errnos.EINVAL, pid=50, detail=49)
    source = notes(boot)
    try:
        queues.happen(50, kqueue.NOTE_EXEC)
        ((_, _, became),) = happened(source)
        assert (became.exe, became.argv) == ("/bin/ls", None)
    finally:
        source.close()


def test_who_may_not_be_watched_with_its_status_is_watched_without(darwin: Darwin, boot: Boot, queues: Queues) -> None:
    darwin.add(50)
    darwin.fail("KQUEUE", errnos.EACCES, 50, 2)
    source = notes(boot)
    try:
        assert not queues.watched(50) & kqueue.NOTE_EXITSTATUS
        queues.happen(50, kqueue.NOTE_EXIT)
        ((_, _, ended),) = happened(source)
        assert (ended.code, ended.signal, source.refused) == (None, None, 0)
    finally:
        source.close()


def test_who_may_not_be_watched_at_all_is_counted(darwin: Darwin, boot: Boot, queues: Queues) -> None:
    darwin.add(50)
    darwin.fail("KQUEUE", errnos.EPERM, 50, times=2)
    source = notes(boot)
    try:
        asked = darwin.calls("KQUEUE")
        assert happened(source) == []
        assert (source.refused, darwin.calls("KQUEUE") - asked) == (1, 0)  # it is not tried again and again
        darwin.kill(50)
        darwin.add(50, start_usec=43)
        assert [kind for _, kind, _ in happened(source)] == ["ProcessStart"]
    finally:
        source.close()


def test_a_reused_pid_is_another_process(darwin: Darwin, boot: Boot, queues: Queues) -> None:
    darwin.add(50)
    source = notes(boot)
    try:
        darwin.kill(50)
        darwin.add(50, start_usec=43, comm=b"other")
        ((pid, kind, start),) = happened(source)
        assert (pid, kind, start.name) == (50, "ProcessStart", "other")
    finally:
        source.close()


# eslogger -------------------------------------------------------------------------------------------------------------

LINES = Path(__file__).parent / "fixtures" / "eslogger.jsonl"
"""Made by hand: of events that nobody published, too. Those in the shape of recorded ones are in eslogger_shapes."""


def script(tmp_path: Path, text: str) -> str:
    made = tmp_path / "eslogger"
    made.write_text(f"#!/bin/sh\n{text}\n")
    made.chmod(0o755)
    return str(made)


def watched(boot: Boot, program: str, **fields: Any) -> tuple[list[Any], Tally]:
    tally = Tally()
    request = EventRequest(method="eslogger", **fields)
    return list(Events(lambda: boot, program).watch(request, threading.Event(), tally)), tally


def test_endpoint_securitys_events_come_in_order_with_losses(boot: Boot, tmp_path: Path) -> None:
    told = tmp_path / "asked"
    program = script(tmp_path, f'echo "$@" > {told}\ncat {LINES}\nsleep 1.2\n')
    found, tally = watched(boot, program, kinds=frozenset({"start", "exec", "exit"}))
    bodies = [type(event.body).__name__ for event in found]
    assert bodies == [
        "CoverageChange",
        "ProcessStart",
        "ProcessExec",
        "ProcessExit",
        "Loss",  # of a mount, which was not asked for and has no record
        "Loss",
        "CredentialChange",
        "Loss",
    ]
    assert told.read_text().split() == ["exec", "exit", "fork"]
    assert (found[4].body.events, found[5].body.events, tally.lost) == (1, 2, 4)
    assert [event.seq for event in found] == list(range(8))
    assert found[2].key.boot_id == boot.boot_id


def test_what_eslogger_wrote_last_is_read_after_its_end(boot: Boot, tmp_path: Path) -> None:
    many = tmp_path / "many"
    line = LINES.read_bytes().splitlines()[2]
    many.write_bytes(b"".join(line + b"\n" for _ in range(400)))
    assert many.stat().st_size > 4 * 65_536
    found, _ = watched(boot, script(tmp_path, f"sleep 1.2\ncat {many}\n"), kinds=frozenset({"exit"}))
    assert [type(event.body).__name__ for event in found].count("ProcessExit") == 400
    assert found[-1].body.reason.startswith("eslogger ended")


def test_a_refused_eslogger_says_what_it_said(boot: Boot, tmp_path: Path) -> None:
    program = script(tmp_path, "echo 'Not permitted to create an ES Client' >&2; exit 1")
    with pytest.raises(Denied, match="Not permitted") as refused:
        watched(boot, program)
    assert "Full Disk Access" in (refused.value.hint or "")


def test_without_eslogger_it_is_kqueue(darwin: Darwin, boot: Boot, queues: Queues, tmp_path: Path) -> None:
    darwin.add(1)
    stop, tally = threading.Event(), Tally()
    events = Events(lambda: boot, str(tmp_path / "none")).watch(EventRequest(), stop, tally)
    first = next(iter(events))
    stop.set()
    assert list(events) == []
    assert first.source == "kqueue"
    assert "eslogger cannot be used" in (tally.method_reason or "")


def test_lines_that_are_not_understood_are_losses(boot: Boot, tmp_path: Path) -> None:
    program = script(tmp_path, "echo nonsense; head -c 1100000 /dev/zero | tr '\\0' x; echo; sleep 1.2")
    found, tally = watched(boot, program)
    assert [type(event.body).__name__ for event in found] == ["CoverageChange", "Loss", "Loss", "Loss"]
    assert tally.lost == 3


def test_kinds_and_methods_are_checked(boot: Boot) -> None:
    for request in (EventRequest(method="ring-buffer"), EventRequest(kinds=frozenset({"tea"}))):
        with pytest.raises(UsageError):
            Events(lambda: boot).watch(request, threading.Event(), Tally())
    with pytest.raises(Unsupported):
        Events(lambda: boot).watch(
            EventRequest(method="kqueue", kinds=frozenset({"ptrace"})), threading.Event(), Tally()
        )


# Counters and the host ------------------------------------------------------------------------------------------------


def test_counters_of_the_host(darwin: Darwin) -> None:
    mach = Mach(darwin)
    mach.processor(100, 50, 1000, 5)
    mach.processor(200, 70, 900, 0)
    mach.pages(1000, 500, 100, 300)
    darwin.value("hw.memsize", (16 << 30).to_bytes(8, "little"))
    darwin.value(
        "vm.loadavg",
        b"".join(n.to_bytes(4, "little") for n in (4096, 2048, 1024)) + bytes(4) + (2048).to_bytes(8, "little"),
    )
    darwin.value("vm.swapusage", (2 << 30).to_bytes(8, "little") + (1 << 30).to_bytes(8, "little") + bytes(16))
    found = Counters().read()
    assert (found.cpu_user_ns, found.cpu_system_ns, found.cpu_idle_ns) == (3_050_000_000, 1_200_000_000, 19_000_000_000)
    assert (found.cpu_count, found.load_1m, found.load_15m) == (2, 2.0, 0.5)
    assert (found.memory_free_bytes, found.memory_available_bytes) == (900 * 16384, 1500 * 16384)
    assert (found.swap_total_bytes, found.swap_free_bytes) == (2 << 30, 1 << 30)
    assert "disks" in {gap.field for gap in found.gaps}


def test_counters_that_are_missing_are_gaps(darwin: Darwin) -> None:
    Mach(darwin).processor(1, 1, 1, 1)
    darwin.value("hw.memsize", (1 << 30).to_bytes(8, "little"))
    darwin.value("vm.loadavg", b"short")
    found = Counters().read()
    assert (found.load_1m, found.swap_total_bytes) == (None, None)
    assert {"load_1m", "load_5m", "swap_total_bytes"} <= {gap.field for gap in found.gaps}


def test_mach_that_refuses_is_unavailable(darwin: Darwin) -> None:
    Mach(darwin)
    darwin.fail("HOST", 5)
    with pytest.raises(Unavailable):
        Counters().read()


def test_what_the_host_is(darwin: Darwin) -> None:
    for name, value in (("kern.hostname", b"mac\0"), ("kern.osrelease", b"23.5.0\0"), ("hw.machine", b"x86_64\0"),
                        ("kern.osproductversion", b"14.5\0"), ("kern.osversion", b"23F79\0"),
                        ("hw.model", b"MacBookPro18,3\0"), ("hw.activecpu", (10).to_bytes(4, "little")),
                        ("hw.memsize", (16 << 30).to_bytes(8, "little"))):  # fmt: skip
        darwin.value(name, value)
    info = System().info()
    assert (info.os_name, info.kernel, info.model) == ("macOS 14.5 (23F79)", "23.5.0", "MacBookPro18,3")
    assert (info.architecture, info.cpus, info.memory_bytes) == ("arm64", 10, 16 << 30)  # Rosetta says x86_64
    assert info.boot_id == read_boot().boot_id


def test_virtual_machines_by_their_signatures(darwin: Darwin) -> None:
    machine = b"com.apple.Virtualization.VirtualMachine"
    darwin.add(10, csflags=VALID | PLATFORM, identity=machine)
    darwin.add(11, csflags=VALID | RUNTIME, identity=b"com.docker.backend", team=b"9BNSXJN65R")
    darwin.add(12, csflags=VALID, identity=machine)
    darwin.add(13, csflags=RUNTIME, identity=b"com.docker.backend", team=b"9BNSXJN65R")
    found = list(Containers().containers())
    assert [(one.id, one.runtime, one.name) for one in found] == [
        ("10", "virtualization", "Virtualization.framework"),
        ("11", "docker", "Docker Desktop"),
    ]
    assert os.getpid() not in {int(one.id) for one in found}


def test_containers_of_apples_tool_have_their_names(darwin: Darwin) -> None:
    helper, team = b"com.apple.container.container-runtime-linux", b"UPBK2H6LZM"
    label = b"XPC_SERVICE_NAME=" + helper + b".my-web-server"
    darwin.add(10, csflags=VALID | RUNTIME, identity=helper, team=team, env=[b"PATH=/bin", label])
    darwin.add(11, csflags=VALID | RUNTIME, identity=helper, team=team, env=[b"XPC_SERVICE_NAME=other"])
    darwin.add(12, csflags=VALID | RUNTIME, identity=b"com.apple.container.apiserver", team=team, env=[label])
    darwin.add(13, csflags=VALID | RUNTIME, identity=helper, team=b"ABCDE12345", env=[label])
    found = [(one.id, one.runtime, one.name) for one in Containers().containers()]
    assert found == [(name, "apple-container", "Apple container") for name in ("my-web-server", "11", "12")]
    darwin.fail("SYSCTL", errnos.EINVAL, pid=10, detail=49)
    assert [one.id for one in Containers().containers()] == ["10", "11", "12"]
