"""Calls that are easily misread, and processes in odd states: by both methods as strace sees them."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hostscope.errors import UsageError
from hostscope.model.request import ProcessRequest
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.linux.host import open_host
from hostscope.respond import trace as respond
from tests.system.test_trace import HOSTSCOPE, METHODS, end, plain, trace

pytestmark = [pytest.mark.system, pytest.mark.root]
DECODED = (
    "openat,lseek,ftruncate,truncate,faccessat2,wait4,rename,chown,umount2,brk,mmap,mprotect,rt_sigsuspend,access,"
    "socket,msync,pipe2,dup3"
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    target = tmp_path_factory.mktemp("odd") / "odd"
    command = ["cc", "-w", "-O1", "-pthread", "-o", target, Path(__file__).parent / "odd_calls.c"]
    subprocess.run(command, check=True)
    return str(target)


def calls_of(method: str, output: Path, calls: str, *program: str, form: str = "table") -> list[str]:
    """Lines of a trace that went well, without what stands before the call."""
    found = trace("--method", method, "--calls", calls, "--format", form, "--output", str(output), "--", *program)
    assert found.returncode == 0, found.stderr
    return [re.sub(r"^\S+ +\d+  ", "", line) for line in output.read_text().splitlines()]


def begun(*arguments: str) -> "subprocess.Popen[str]":
    """A trace that has attached; what follows are calls, and the coverage."""
    command = [*HOSTSCOPE, "trace", "--format", "ndjson", *arguments]
    tracer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert tracer.stdout is not None and "coverage" in tracer.stdout.readline()
    return tracer


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["arguments", "interrupted"])
def test_arguments_and_results_equal_stracess(method: str, kind: str, odd: str, tmp_path: Path) -> None:
    """Offsets of 64 bits, users of -1, addresses that cannot be read, calls that are made again after a signal."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    peer = tmp_path / "strace"
    subprocess.run(["strace", "-o", peer, "-s", "400", "-e", f"trace={DECODED}", odd, kind], check=True)
    ours = plain("\n".join(calls_of(method, tmp_path / "ours", DECODED, odd, kind, form="strace")))
    theirs = plain(peer.read_text().replace("rt_sigsuspend([]", "rt_sigsuspend(0x0123456789"))
    if method == "ebpf":  # so much of a path is kept
        theirs = [re.sub(r'"([^"]{255})[^"]+"', r'"\1"...', line) for line in theirs]
    assert ours == theirs
    assert any("EFAULT" in line or "ERESTARTNOHAND" in line for line in ours)


@pytest.mark.parametrize("method", METHODS)
def test_a_signal_handlers_return_is_one_call(method: str, odd: str, tmp_path: Path) -> None:
    assert len(calls_of(method, tmp_path / "ours", "rt_sigreturn", odd, "interrupted")) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["exec-by-thread", "exec-after-first"])
def test_a_program_that_another_thread_than_the_first_starts(method: str, kind: str, odd: str, tmp_path: Path) -> None:
    """The thread takes the first one's number, whose call is over without a word; the trace ends with the program."""
    found = calls_of(method, tmp_path / "ours", "execve,pause,exit_group", odd, kind)
    assert [line.partition("(")[0] for line in found if "pause" not in line] == ["execve", "execve", "exit_group"]
    assert found[-2].startswith('execve("/bin/true", ') and found[-2].endswith(" = 0")
    assert "pause() = 0" not in found


@pytest.mark.parametrize("method", METHODS)
def test_a_process_whose_first_thread_has_ended(method: str, odd: str, tmp_path: Path) -> None:
    """Its first thread can neither be attached to nor tell what stands in its memory; the others can."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([odd, "first-ends"], text=True, **pipes)  # type: ignore[call-overload]
    try:
        assert child.stdout.readline() == "up\n"
        tracer = begun("--method", method, "--calls", "read,openat", str(child.pid))
        child.stdin.write("x")
        child.stdin.close()
        rest, said = tracer.communicate(timeout=30)
        assert tracer.returncode == 0, said
        assert "/no/such/place" in rest and '"error":"ENOENT"' in rest
    finally:
        end(child)


@pytest.mark.parametrize("method", METHODS)
def test_a_process_that_nobody_waited_for_is_gone(method: str) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        found = trace("--method", method, str(child.pid))
    assert found.returncode == 3 and "its parent has not waited for it" in found.stderr


@pytest.mark.parametrize("method", METHODS)
def test_one_of_several_that_has_ended_does_not_hinder_the_others(method: str) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        lives = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        try:
            tracer = begun("--method", method, "--calls", "exit_group", str(ended.pid), str(lives.pid))
            assert lives.stdin is not None
            lives.stdin.close()
            rest, said = tracer.communicate(timeout=30)
        finally:
            end(lives)
    assert tracer.returncode == 0, said
    *calls, coverage = map(json.loads, rest.splitlines())
    assert [each["event"]["body"]["call"] for each in calls] == ["exit_group"]
    assert coverage["coverage"]["vanished"] == 1


def test_hostscope_does_not_trace_itself() -> None:
    """By name it may find itself."""
    host, stop = open_host(), threading.Event()
    ours = host.processes.read(os.getpid(), ProcessRequest()).key
    with pytest.raises(UsageError, match="does not trace itself"):
        respond.trace(host, TraceRequest((ours,)), stop)
    with subprocess.Popen(["sleep", "60"]) as child:
        other = host.processes.read(child.pid, ProcessRequest()).key
        try:
            found = respond.trace(host, TraceRequest((ours, other)), stop)
            stop.set()
            assert found.answer.coverage.skipped == 1
        finally:
            child.kill()


@pytest.mark.parametrize("method", METHODS)
def test_a_kernel_thread_makes_no_calls(method: str) -> None:
    if Path("/proc/2/comm").read_text() != "kthreadd\n":
        pytest.skip("the kernel's threads are not in this PID namespace")
    found = trace("--method", method, "2")
    assert found.returncode == 6 and "is a kernel thread" in found.stderr


@pytest.mark.parametrize("method", METHODS)
def test_all_memory_of_a_call_is_looked_at(method: str, odd: str, tmp_path: Path) -> None:
    """Neither a first page that cannot be written hides the others, nor a hole at the end what was changed before."""
    found = calls_of(method, tmp_path / "ours", "mprotect", odd, "protections")
    shown = [re.sub(r"0x\w+, ", "", line) for line in found if "PROT_EXEC" in line]
    assert shown == [
        "mprotect(16384, PROT_READ|PROT_EXEC) = 0  [w-to-x]",
        "mprotect(16384, PROT_READ|PROT_EXEC) = -1 ENOMEM  [w-to-x]",
        "mprotect(16384, PROT_READ|PROT_EXEC) = 0",
        "mprotect(0, PROT_READ|PROT_EXEC) = 0",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_the_path_of_a_call_that_seccomp_refuses(method: str, odd: str, tmp_path: Path) -> None:
    found = calls_of(method, tmp_path / "ours", "openat", odd, "refused")
    assert found[-1] == 'openat(AT_FDCWD, "/no/such/place", O_RDONLY) = -1 EACCES'


@pytest.mark.parametrize("method", METHODS)
def test_calls_by_other_interfaces_are_counted_whatever_they_are(method: str, odd: str) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("int 0x80 and x32 are of x86-64")
    if subprocess.run([odd, "other-interfaces"], check=False).returncode:
        pytest.skip("this kernel has no int 0x80")
    found = trace("--method", method, "--calls", "munmap", "--output", os.devnull, "--", odd, "other-interfaces")
    assert "3 calls by a 32-bit interface (int 0x80, x32, 32-bit programs) are not decoded" in found.stderr


@pytest.mark.parametrize("method", METHODS)
def test_a_child_is_born_once(method: str, odd: str, tmp_path: Path) -> None:
    """What its parent called returns to the child too."""
    found = calls_of(method, tmp_path / "ours", "fork,vfork,clone,clone3,exit_group", odd, "children")
    assert len([line for line in found if "exit_group" not in line]) == 2
    assert [line for line in found if "exit_group" in line] == ["exit_group(3) = ?"] * 2 + ["exit_group(0) = ?"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("options", "limited"), [(("--filter", 'error == "ENOENT"'), False), (("--limit", "2"), True)])
def test_the_coverage_tells_what_was_left_out(
    method: str, options: tuple[str, str], limited: bool, tmp_path: Path
) -> None:
    output = tmp_path / "calls"
    given = ("--method", method, "--calls", "all", "--format", "ndjson", "--output", str(output), *options)
    assert trace(*given, "--", "/bin/cat", "/etc/hostname").returncode == 0
    *shown, last = map(json.loads, output.read_text().splitlines())
    rows = sum(each["event"]["body"]["type"] == "syscall" for each in shown)
    coverage = last["coverage"]
    assert (coverage["rows"], coverage["limited"]) == (rows, limited) and coverage["seen"] >= rows > 0
    assert limited or coverage["seen"] == rows + coverage["skipped"]


def test_a_filter_that_is_none_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTSCOPE_AUDIT", str(tmp_path / "audit.jsonl"))
    assert trace("--filter", "nonsense ==", str(os.getpid())).returncode == 2
    assert not (tmp_path / "audit.jsonl").exists()


def test_the_audit_trail_holds_no_secrets_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTSCOPE_AUDIT", str(tmp_path / "audit.jsonl"))
    found = trace("--quiet", "--", "/bin/sh", "-c", "true", "--password=hunter2")
    assert found.returncode == 0, found.stderr
    written = (tmp_path / "audit.jsonl").read_text()
    assert "act.spawn" in written and "--password=" in written and "hunter2" not in written
