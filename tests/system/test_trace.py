"""Traces of real programs: as strace sees them, and the programs none the wiser."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from hostscope.errors import Denied, Unsupported
from hostscope.model.event import SystemCall
from hostscope.model.request import ProcessRequest
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.linux.host import open_host
from hostscope.platforms.tally import Tally

pytestmark = [pytest.mark.system, pytest.mark.root]
HOSTSCOPE = (sys.executable, "-m", "hostscope.cli.main")
METHODS = ("ebpf", "ptrace")
LIMIT_S = 60
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def trace(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*HOSTSCOPE, "trace", *arguments]
    found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    if "cannot be used" in found.stderr or "eBPF program" in found.stderr.partition("\n")[0]:
        pytest.skip(found.stderr)
    return found


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def status(pid: int, field: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return line.split(":", 1)[1].strip()
    raise AssertionError(field)


@pytest.fixture(scope="module")
def jit(tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    target = tmp_path_factory.mktemp("jit") / "jit"
    subprocess.run(["cc", "-O1", "-pthread", "-o", target, Path(__file__).parent / "jit.c"], check=True)
    return str(target)


def plain(text: str) -> list[str]:
    """Lines without threads' numbers, addresses, and what strace says about ends."""
    lines = [re.sub(r"^\d+ +", "", line) for line in text.splitlines()]
    calls = [line for line in lines if re.match(r"\w+\(", line)]
    return [re.sub(r"\s+= ", " = ", _ADDRESS.sub("ADDRESS", re.sub(r" \(.*\)$", "", line))) for line in calls]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("calls", ["mmap,mprotect,munmap", "openat,close,access,lseek", "brk,exit_group"])
def test_equal_to_strace(method: str, calls: str, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    program = ["/bin/cat", "/etc/hostname"]
    output, ours = tmp_path / "strace", tmp_path / "ours"
    subprocess.run(["strace", "-f", "-o", output, "-e", f"trace={calls}", *program], check=True, capture_output=True)
    found = trace("--method", method, "--calls", calls, "--format", "strace", "--output", str(ours), "--", *program)
    assert found.returncode == 0, found.stderr
    assert plain(ours.read_text()) == plain(output.read_text())


SOCKETS = """
import socket as s
for family, kind, call, to in (
    (s.AF_INET, s.SOCK_DGRAM, "connect", ("127.0.0.1", 9)), (s.AF_INET, s.SOCK_STREAM, "bind", ("127.0.0.2", 0)),
    (s.AF_INET6, s.SOCK_DGRAM, "connect", ("::1", 9)), (s.AF_UNIX, s.SOCK_STREAM, "connect", "/no/such/place"),
    (s.AF_UNIX, s.SOCK_STREAM, "connect", "\\0nobody"), (s.AF_NETLINK, s.SOCK_RAW, "bind", (0, 0)),
):
    with s.socket(family, kind) as one:
        try:
            getattr(one, call)(to)
        except OSError:
            pass
"""


@pytest.mark.parametrize("method", METHODS)
def test_addresses_of_sockets_as_strace_shows_them(method: str, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    program, output, ours = [sys.executable, "-I", "-c", SOCKETS], tmp_path / "strace", tmp_path / "ours"
    subprocess.run(["strace", "-o", output, "-e", "trace=connect,bind", *program], check=True)
    found = trace(
        "--method", method, "--calls", "connect,bind", "--format", "strace", "--output", str(ours), "--", *program
    )
    assert found.returncode == 0, found.stderr
    assert len(plain(ours.read_text())) == 6
    assert plain(ours.read_text()) == plain(output.read_text())


@pytest.mark.parametrize("method", METHODS)
def test_written_code_threads_and_children(method: str, jit: str) -> None:
    found = trace("--method", method, "--", jit)
    assert found.returncode == 5, found.stderr
    lines = found.stderr.splitlines()
    assert len([line for line in lines if "mprotect(" in line and line.endswith("[w-to-x]")]) == 1
    assert len([line for line in lines if "[executable-anonymous, writable-executable]" in line]) == 1
    seen = {line.split()[1]: line for line in lines if "12345" in line or "54321" in line}
    assert len(seen) == 2  # a thread and a child
    alone = trace("--method", method, "--no-children", "--", jit)
    assert "54321" not in alone.stderr and "12345" in alone.stderr and alone.returncode == 5


@pytest.mark.parametrize("method", METHODS)
def test_the_commands_status_is_ours(method: str) -> None:
    assert trace("--method", method, "--quiet", "--", "sh", "-c", "exit 7").returncode == 7
    assert trace("--method", method, "--quiet", "--", "sh", "-c", "kill -TERM $$").returncode == 143
    missing = trace("--method", method, "--quiet", "--", "/no/such/program")
    assert missing.returncode == 127 and "No such file" in missing.stderr
    hostile = trace("--method", method, "--", "/no/\x1b[31m\nsuch")
    assert "/no/\\x1b[31m\\x0asuch: No such file" in hostile.stderr and "\x1b" not in hostile.stderr


@pytest.mark.parametrize("method", METHODS)
def test_the_coverage_counts_what_is_shown(method: str, tmp_path: Path) -> None:
    """How the command begins is looked at, too, but not asked for."""
    trace("--method", method, "--format", "ndjson", "--output", str(tmp_path / "calls"), "--", "/bin/true")
    *shown, coverage = (tmp_path / "calls").read_text().splitlines()
    calls = sum(json.loads(line)["event"]["body"]["type"] == "syscall" for line in shown)
    assert json.loads(coverage)["coverage"]["rows"] == json.loads(coverage)["coverage"]["seen"] == calls > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_filter_and_a_summary(method: str) -> None:
    found = trace("--method", method, "--quiet", "--filter", '"PROT_EXEC" in prot', "--", "/bin/true")
    assert found.stderr and all("PROT_EXEC" in line for line in found.stderr.splitlines())
    summary = trace("--method", method, "--quiet", "-c", "--calls", "file", "--", "/bin/true")
    assert "openat" in summary.stderr and summary.stderr.splitlines()[-1].endswith("total")


LOOP = """
import os, signal
signal.signal(10, lambda *_: print("got", flush=True))
print("up", flush=True)
while 1: os.getppid()
"""


def start_loop() -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    return child


def end(*children: subprocess.Popen[str]) -> None:
    for child in children:
        child.kill()
        child.wait(LIMIT_S)
        if child.stdout is not None:
            child.stdout.close()
        if child.stderr is not None:
            child.stderr.close()


def tracing(pid: int, *more: str) -> subprocess.Popen[str]:
    command = [*HOSTSCOPE, "trace", "--method", "ptrace", "--calls", "getppid", *more, str(pid)]
    tracer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert tracer.stdout is not None and "getppid()" in tracer.stdout.readline()
    return tracer


def test_a_command_is_not_waited_for_when_the_terminal_went_away() -> None:
    heard = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(120)"
    command = (*HOSTSCOPE, "trace", "--method", "ptrace", "--", sys.executable, "-c", program)
    typed = [sys.executable, "-c", heard, *command]
    with subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as ours:
        assert ours.stdout is not None
        child = int(ours.stdout.readline())
        try:
            ours.send_signal(signal.SIGHUP)
            assert ours.wait(LIMIT_S) == 129
            assert status(child, "TracerPid") == "0"
        finally:
            os.kill(child, signal.SIGKILL)


def test_signals_and_stops_go_through_ptrace_untouched() -> None:
    child = start_loop()
    tracer = tracing(child.pid, "--output", "-")
    drain = subprocess.Popen(["cat"], stdin=tracer.stdout, stdout=subprocess.DEVNULL)
    try:
        child.send_signal(10)
        assert child.stdout is not None and child.stdout.readline() == "got\n"
        child.send_signal(signal.SIGSTOP)
        until(lambda: status(child.pid, "State")[0] in "tT")
        tracer.send_signal(signal.SIGTERM)
        assert tracer.wait(LIMIT_S) == 143
        until(lambda: status(child.pid, "TracerPid") == "0")
        assert status(child.pid, "State").startswith("T (stopped)")
        child.send_signal(signal.SIGCONT)
        until(lambda: status(child.pid, "State")[0] in "RS")
    finally:
        end(drain, tracer, child)


def test_the_process_runs_on_when_we_are_killed() -> None:
    child = start_loop()
    tracer = tracing(child.pid)
    try:
        end(tracer)
        until(lambda: status(child.pid, "TracerPid") == "0" and status(child.pid, "State")[0] in "RS")
        child.send_signal(10)
        assert child.stdout is not None and child.stdout.readline() == "got\n"
    finally:
        end(child)


@pytest.mark.parametrize("method", METHODS)
def test_a_time_limit_ends_it(method: str) -> None:
    child = start_loop()
    try:
        found = trace("--method", method, "--calls", "mmap", "--duration", "0.3", str(child.pid))
        assert found.returncode == 0, found.stderr
        assert status(child.pid, "TracerPid") == "0"
    finally:
        end(child)


def test_errors_of_use() -> None:
    for arguments, code in (
        (("--calls", "nosuch", str(os.getpid())), 2), (("99999999",), 3), ((), 2), (("--method", "magic", "1"), 2),
        (("--method", "debugger", str(os.getpid())), 2),
    ):  # fmt: skip
        assert trace(*arguments).returncode == code, arguments


def test_without_privileges_a_process_of_others_is_refused_with_reasons() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *HOSTSCOPE, "trace", "1"]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        given = os.environ | {"HOSTSCOPE_AUDIT": f"{folder}/audit.jsonl"}
        found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT_S, env=given)
    if "hostscope:" not in found.stderr:
        pytest.skip(f"the interpreter cannot be run as nobody: {found.stderr[-80:]}")
    assert found.returncode == 4 and "hint:" in found.stderr


def attached() -> list[str]:
    """eBPF links and programs that this process holds; nothing else keeps them, as none is pinned."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(name for name in found if "bpf" in name)


@pytest.mark.parametrize("durations", [False, True])
def test_nothing_is_attached_but_while_it_is_traced(durations: bool) -> None:
    host, stop, tally = open_host(), threading.Event(), Tally()
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            key = host.processes.read(child.pid, ProcessRequest()).key
            before = attached()
            try:
                events = host.syscalls.watch(TraceRequest((key,), ("mmap",), durations=durations), stop, tally)
            except (Denied, Unsupported) as failed:
                pytest.skip(str(failed))
            assert len(attached()) > len(before)
            stop.set()
            assert [event for event in events if isinstance(event.body, SystemCall)] == []
            assert attached() == before
        finally:
            child.kill()
