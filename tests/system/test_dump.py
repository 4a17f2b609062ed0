"""Dumps of real processes, opened by other people's tools."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostscope.dumps.core_file import open_core
from hostscope.dumps.manifest import parse_manifest
from hostscope.errors import Denied, Error, Gone, Mismatch, Unavailable, UsageError
from hostscope.model.dump import Dump, DumpRequest
from hostscope.model.request import ProcessRequest
from hostscope.respond import preserve
from hostscope.respond.dump import Dumper
from hostscope.respond.preserve import dump
from tests.system.commands import need
from tests.system.dump_target import HOST, PAGE, built, dumped, running, status, until
from tests.system.told_child import NOBODY, told_child

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def program() -> Iterator[str]:
    with built() as path:
        yield path


def test_gdb_opens_it(program: str, tmp_path: Path) -> None:
    gdb = need("gdb", "gdb")
    with running(program, threads=5) as target:
        dumped(target.child.pid, tmp_path / "core")
    commands = ["p/x known_variable", f"x/s {target.secret}", "info threads", "thread apply all bt"]
    command = [
        gdb,
        "-nx",
        "-batch",
        *(word for one in commands for word in ("-ex", one)),
        program,
        str(tmp_path / "core"),
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    assert "= 0x5eedf00dcafe1234" in said
    assert '"s3cret-in-the-heap"' in said
    assert len(re.findall(r"^[* ] \d+ +Thread", said, re.MULTILINE)) == 5
    assert said.count("in waiting_here (") == 4 and " main (" in said


def test_readelf_reads_the_notes(program: str, tmp_path: Path) -> None:
    readelf = need("eu-readelf", "elfutils")
    with running(program, threads=3) as target:
        dumped(target.child.pid, tmp_path / "core")
    done = subprocess.run([readelf, "-n", str(tmp_path / "core")], capture_output=True, text=True, check=True)
    assert re.findall(r"^ +(?:CORE|LINUX) +\d+ +(\w+)", done.stdout, re.MULTILINE) == [
        "PRSTATUS", "PRPSINFO", "SIGINFO", "AUXV", "FILE", "FPREGSET", "X86_XSTATE",
        *["PRSTATUS", "FPREGSET", "X86_XSTATE"] * 2,
    ]  # fmt: skip
    assert f"pid: {target.child.pid}, ppid: {os.getpid()}" in done.stdout
    assert "fname: dump_target" in done.stdout and f"psargs: {program} 3" in done.stdout
    assert f"AT_PAGESZ: {PAGE}" in done.stdout or f"PAGESZ: {PAGE}" in done.stdout
    assert program in done.stdout


def test_pyelftools_reads_it(program: str, tmp_path: Path) -> None:
    elffile = pytest.importorskip("elftools.elf.elffile", reason="pyelftools is not installed")
    with running(program) as target:
        _, manifest = dumped(target.child.pid, tmp_path / "core")
    with open(tmp_path / "core", "rb") as file:
        elf = elffile.ELFFile(file)
        loads = [one for one in elf.iter_segments() if one["p_type"] == "PT_LOAD"]
        notes = [
            note["n_type"] for one in elf.iter_segments() if one["p_type"] == "PT_NOTE" for note in one.iter_notes()
        ]
    assert elf["e_type"] == "ET_CORE" and elf["e_machine"] == "EM_X86_64"
    assert [one["p_vaddr"] for one in loads] == [one.region.start for one in manifest.regions]
    assert [one["p_paddr"] for one in loads] == [one["p_vaddr"] for one in loads], "by which volatility3 goes"
    assert notes[:2] == ["NT_PRSTATUS", "NT_PRPSINFO"] and "NT_FILE" in notes


def test_volatility3_reads_it(program: str, tmp_path: Path) -> None:
    contexts = pytest.importorskip("volatility3.framework.contexts", reason="volatility3 is not installed")
    layers = [importlib.import_module(f"volatility3.framework.layers.{name}") for name in ("physical", "elf")]
    with running(program) as target:
        dumped(target.child.pid, tmp_path / "core", policy="private")
    context = contexts.Context()
    context.config["base.location"] = (tmp_path / "core").as_uri()
    context.add_layer(layers[0].FileLayer(context, "base", "base"))
    context.config["elf.base_layer"] = "base"
    context.add_layer(layers[1].Elf64Layer(context, "elf", "elf"))
    layer = context.layers["elf"]
    assert layer.read(target.secret, 18) == b"s3cret-in-the-heap"
    assert int.from_bytes(layer.read(target.variable, 8), "little") == 0x5EEDF00DCAFE1234


@pytest.mark.parametrize(
    "request_", [{}, {"compression": "zstd"}, {"image": "raw"}, {"image": "raw", "compression": "zstd"}]
)
def test_the_memory_is_in_it(program: str, tmp_path: Path, request_: dict[str, str]) -> None:
    with running(program) as target:
        row, manifest = dumped(target.child.pid, tmp_path / "dump", why="a test", **request_)
    assert row.complete and row.unread_bytes == 0 and manifest.why == "a test"
    assert manifest.incomplete == () and manifest.consistency == "running"
    assert {(one.included, one.skipped is None) for one in manifest.regions} == {(True, True), (False, False)}
    for path in (tmp_path / "dump", tmp_path / "dump.json"):
        assert os.stat(path).st_mode & 0o777 == 0o600
    with open_core(str(tmp_path / "dump")) as core:
        assert core.read(target.secret, 18) == b"s3cret-in-the-heap"
        assert int.from_bytes(core.read(target.variable, 8), "little") == 0x5EEDF00DCAFE1234


def test_digests_are_of_the_bytes_in_the_file(program: str, tmp_path: Path) -> None:
    from hostscope.collectors.analysis import AnalysisRequest, analyze

    with running(program) as target:
        dumped(target.child.pid, tmp_path / "core")
    shutil.copy(tmp_path / "core", tmp_path / "copy")  # without holes
    shutil.copy(tmp_path / "core.json", tmp_path / "copy.json")
    request = AnalysisRequest(text=False)
    assert analyze(str(tmp_path / "copy"), request).verified is True
    with open_core(str(tmp_path / "copy")) as core:
        one = next(one for one in core.held if one.ranges)
        assert one.ranges is not None
        place = one.file_offset + one.ranges[0][0] - one.region.start
    with open(tmp_path / "copy", "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    assert analyze(str(tmp_path / "copy"), request).verified is False


def test_untouched_pages_are_not_written(tmp_path: Path) -> None:
    script = "import mmap\nm = mmap.mmap(-1, 1 << 31, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n" \
        "m[1 << 30 : (1 << 30) + 5] = b'hello'\ntold = None"  # fmt: skip
    with told_child(script) as (pid, _):
        row, manifest = dumped(pid, tmp_path / "core")
    assert row.untouched_bytes > (1 << 31) - (8 << 20)
    found = os.stat(tmp_path / "core")
    assert found.st_size > 1 << 31 and found.st_blocks * 512 < 200 << 20
    (large,) = [one for one in manifest.regions if one.region.size_bytes >= 1 << 31]
    assert large.read_bytes < 8 << 20
    with open_core(str(tmp_path / "core")) as core:
        assert core.read(large.region.start + (1 << 30), 5) == b"hello"


@pytest.mark.parametrize("frozen", [False, True])
def test_two_hundred_threads(program: str, tmp_path: Path, frozen: bool) -> None:
    with running(program, threads=200) as target:
        row, manifest = dumped(target.child.pid, tmp_path / "core", freeze=frozen)
        assert status(target.child.pid, "TracerPid") == "0"
        assert status(target.child.pid, "State")[0] in "SR"
    assert row.threads == len(manifest.threads) == 200
    assert all(one.stopped_ns > 0 for one in manifest.threads)
    assert manifest.consistency == ("frozen" if frozen else "running")
    with open_core(str(tmp_path / "core")) as core:
        assert len(list(core.threads())) == 200


def test_no_registers_touches_no_thread(program: str, tmp_path: Path) -> None:
    with running(program) as target:
        row, manifest = dumped(target.child.pid, tmp_path / "core", registers=False)
    assert (row.threads, manifest.threads, manifest.effects, manifest.registers) == (0, (), (), False)
    assert row.complete


@pytest.mark.parametrize("frozen", [False, True])
def test_a_stopped_process_stays_stopped(program: str, tmp_path: Path, frozen: bool) -> None:
    with running(program, threads=3) as target:
        os.kill(target.child.pid, signal.SIGSTOP)
        until(lambda: status(target.child.pid, "State").startswith("T"))
        row, _ = dumped(target.child.pid, tmp_path / "core", freeze=frozen)
        assert row.threads == 3
        assert status(target.child.pid, "State").startswith("T (stopped)")
        os.kill(target.child.pid, signal.SIGCONT)
        until(lambda: status(target.child.pid, "State")[0] in "SR")


def test_signals_are_delivered_while_registers_are_read(tmp_path: Path) -> None:
    script = (
        "import signal, threading\ncount = 0\n"
        "def handle(*_):\n    global count\n    count += 1\n    print(count, flush=True)\n"
        "signal.signal(signal.SIGUSR1, handle)\ntold = None"
    )
    with told_child(script) as (pid, _):
        for number in range(20):
            os.kill(pid, signal.SIGUSR1)
            dump(HOST, [str(pid)], DumpRequest(policy="executable", hash="none"), str(tmp_path / f"{number}")).rows()
        assert status(pid, "SigPnd").strip("0") == "" and status(pid, "ShdPnd").strip("0") == ""
        assert status(pid, "State")[0] in "SR"


def test_a_process_that_ends_midway_leaves_no_file(program: str, tmp_path: Path) -> None:
    with running(program) as target:
        key = target.process.key
        with HOST.memory.open(key) as space:
            into = bytearray(PAGE)
            assert space.read(target.secret, memoryview(into)[:7]) == 7
            target.child.kill()
            target.child.wait()
            with pytest.raises(Gone):
                space.read(target.secret, memoryview(into))
            space.check()  # what was read before is its
        with pytest.raises((Gone, Mismatch)):
            HOST.memory.regions(key, True)
    with pytest.raises(Gone):
        dump(HOST, [str(key)], DumpRequest(), str(tmp_path / "core")).rows()
    assert list(tmp_path.iterdir()) == []


def test_another_program_in_the_same_process_is_not_read() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import os; print(1, flush=True); input(); os.execvp('sleep', ['sleep', '60'])"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin and child.stdout
    try:
        child.stdout.readline()
        key = HOST.processes.read(child.pid, ProcessRequest()).key
        stack = next(one for one in HOST.memory.regions(key, True) if one.path == "[stack]")
        with HOST.memory.open(key) as space:
            assert space.read_bytes(stack.end - PAGE, 100)
            child.stdin.write("\n")
            child.stdin.flush()
            until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
            with pytest.raises(Gone):
                space.read_bytes(stack.end - PAGE, 100)
            with pytest.raises(Gone):
                space.check()
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("keep", [False, True])
def test_the_dump_breaks_off_when_the_process_ends(
    program: str, tmp_path: Path, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hostscope.platforms.linux.address_space import AddressSpace

    with running(program) as target:
        real, calls = AddressSpace.read, []

        def read(self: AddressSpace, address: int, into: memoryview) -> int:
            calls.append(address)
            if len(calls) == 5:
                target.child.kill()
                target.child.wait()
            return real(self, address, into)

        monkeypatch.setattr(AddressSpace, "read", read)
        request = DumpRequest(keep_partial=keep, threads=1, registers=False)
        answer = dump(HOST, [str(target.child.pid)], request, str(tmp_path / "core"))
        if not keep:
            with pytest.raises(Gone):
                answer.rows()
            assert list(tmp_path.iterdir()) == []
            return
        (row,) = answer.rows()
    assert not row.complete and "broke off" in row.outcome
    manifest = parse_manifest((tmp_path / "core.json").read_bytes())
    missing = sum(one.end - one.start for region in manifest.regions for one in region.unread)
    assert missing and row.unread_bytes == missing
    with open_core(str(tmp_path / "core")) as core:
        assert core.regions


def test_a_growing_process(tmp_path: Path) -> None:
    script = (
        "import mmap, threading\nheld = []\n"
        "def grow():\n    for _ in range(2000):\n        held.append(mmap.mmap(-1, 65536))\n"
        "        held[-1][:] = bytes(65536)\n"
        "threading.Thread(target=grow, daemon=True).start()\ntold = None"
    )
    with told_child(script) as (pid, _):
        row, manifest = dumped(pid, tmp_path / "core")
    assert row.file and manifest.read_bytes > 0
    with open_core(str(tmp_path / "core")) as core:
        assert len(core.regions) == len(manifest.regions)


JIT = """
import ctypes, mmap
m = mmap.mmap(-1, 4096, prot=7)
m[:6] = b"\\xb8\\x2a\\x00\\x00\\x00\\xc3"
address = ctypes.addressof(ctypes.c_char.from_buffer(m))
told = [address, ctypes.CFUNCTYPE(ctypes.c_int)(address)()]
"""


def test_code_that_was_written_at_run_time(tmp_path: Path) -> None:
    from hostscope.collectors.analysis import AnalysisRequest, analyze

    with told_child(JIT) as (pid, (address, result)):
        assert result == 42
        dumped(pid, tmp_path / "core")
        sample, manifest = dumped(pid, tmp_path / "sample", policy="suspicious")
    found = analyze(str(tmp_path / "core"), AnalysisRequest(text=False))
    kinds = {one.kind for one in found.anomalies if one.start <= address < one.end}
    assert "writable-executable" in kinds
    assert sample.regions < 10 and sample.left_out > 10
    assert any(one.included and one.region.start <= address < one.region.end for one in manifest.regions)


@pytest.mark.parametrize("how", ["deleted", "memfd"])
def test_executables_without_a_name(program: str, tmp_path: Path, how: str) -> None:
    from hostscope.collectors.analysis import AnalysisRequest, analyze

    if how == "deleted":
        copy = tmp_path / "gone"
        shutil.copy(program, copy)
        with running(str(copy)) as target:
            copy.unlink()
            dumped(target.child.pid, tmp_path / "core")
    else:
        fd = os.memfd_create("payload", 0)
        os.write(fd, Path(program).read_bytes())
        with running(f"/proc/self/fd/{fd}", pass_fds=[fd]) as target:
            os.close(fd)
            dumped(target.child.pid, tmp_path / "core")
    found = analyze(str(tmp_path / "core"), AnalysisRequest(text=False))
    assert f"{how}-executable" in {one.kind for one in found.anomalies}
    assert "hollowed-image" not in {one.kind for one in found.anomalies}


def test_what_has_no_memory(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as child:
        until(lambda: status(child.pid, "State").startswith("Z"))
        with pytest.raises(Unavailable, match="a zombie"):
            dump(HOST, [str(child.pid)], DumpRequest(), str(tmp_path / "core")).rows()
    kernel = [one for one in HOST.processes.sweep(ProcessRequest(), Tallied()) if one.kernel]
    if kernel:
        with pytest.raises((Unavailable, Denied), match=r"kernel thread|denied"):
            dump(HOST, [str(kernel[0].pid)], DumpRequest(), str(tmp_path / "core")).rows()
    assert list(tmp_path.iterdir()) == []


def Tallied() -> Any:
    from hostscope.platforms.tally import Tally

    return Tally()


@pytest.mark.root
def test_another_users_process(program: str, tmp_path: Path) -> None:
    with running(program, user=NOBODY, group=NOBODY, extra_groups=[]) as target:
        row, _ = dumped(target.child.pid, tmp_path / "core")
    assert row.complete and row.threads == 1
    with open_core(str(tmp_path / "core")) as core:
        assert core.read(target.secret, 6) == b"s3cret"


@pytest.mark.root
def test_a_container_of_its_own(program: str, tmp_path: Path) -> None:
    """In PID and user-visible namespaces of its own: numbers in the core are ours."""
    unshare = need("unshare", "util-linux")
    command = [unshare, "--pid", "--fork", "--mount-proc", "--uts", "--ipc", program, "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin and child.stdout
        secret = int(child.stdout.readline().split()[0], 16)
        inner = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[0])
        row, _ = dumped(inner, tmp_path / "core")
        child.stdin.close()
    assert row.complete and row.threads == 2
    with open_core(str(tmp_path / "core")) as core:
        assert core.read(secret, 6) == b"s3cret"


@pytest.mark.root
def test_without_privileges_it_says_what_is_missing(program: str, tmp_path: Path) -> None:
    script = """
from hostscope.platforms import open_host
from hostscope.errors import Denied
from hostscope.model.dump import DumpRequest
from hostscope.respond.preserve import dump
try:
    dump(open_host(), ["{pid}"], DumpRequest(), "{path}").rows()
    told = None
except Denied as denied:
    told = [denied.message, denied.hint]
"""
    with running(program) as target:
        text = script.format(pid=target.child.pid, path=tmp_path / "core")
        with told_child(text, drop=True) as (_, told):
            assert told is not None
    assert "denied" in told[0] and "CAP_SYS_PTRACE" in told[1]


@pytest.mark.root
@pytest.mark.parametrize("packed", ["none", "zstd"])
def test_a_full_disk_leaves_nothing(program: str, tmp_path: Path, packed: str) -> None:
    """A small tmpfs in a mount namespace that ends with the command."""
    unshare = need("unshare", "util-linux")
    script = (
        "import json, os, sys\nfrom hostscope.cli import main\n"
        "code = main.run(sys.argv[1:])\nprint(json.dumps([code, sorted(os.listdir('.'))]))\n"
    )
    source = (
        "import mmap, os\nm = mmap.mmap(-1, 24 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "m[:] = os.urandom(24 << 20)\ntold = None"
    )
    with told_child(source) as (pid, _):
        shell = f'mount -t tmpfs -o size=8m tmpfs {tmp_path} && cd {tmp_path} && exec "$0" "$@"'
        command = [
            unshare,
            "--mount",
            "sh",
            "-c",
            shell,
            sys.executable,
            "-c",
            script,
            "dump",
            str(pid),
            "--compress",
            packed,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout.splitlines()[-1]) == [6, []], done.stderr
    assert "are free" in done.stderr or "No space left" in done.stderr


def test_a_symbolic_link_or_a_file_in_the_way(program: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with running(program) as target:
        for name in ("mine", "link"):
            with pytest.raises(Error, match="is there already"):
                dump(HOST, [str(target.child.pid)], DumpRequest(), str(tmp_path / name)).rows()
        dump(HOST, [str(target.child.pid)], DumpRequest(), str(tmp_path / "link"), force=True).rows()
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "link").is_symlink()


@pytest.mark.root
def test_a_folder_that_another_user_laid_ready(program: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / "dumps").mkdir()
    os.chown(tmp_path / "dumps", NOBODY, NOBODY)
    with running(program) as target, pytest.raises(UsageError, match="another user put it there"):
        dump(HOST, (str(target.child.pid),), DumpRequest(), str(tmp_path / "dumps")).rows()
    assert list((tmp_path / "dumps").iterdir()) == []


def test_several_at_once_and_one_that_is_gone(program: str, tmp_path: Path) -> None:
    with running(program) as one, running(program) as two, subprocess.Popen(["true"]) as zombie:
        until(lambda: status(zombie.pid, "State").startswith("Z"))
        pids = [str(one.child.pid), str(zombie.pid), str(two.child.pid)]
        answer = dump(HOST, [*pids, pids[0]], DumpRequest(), str(tmp_path / "dumps"))
        rows = answer.rows()
    assert [str(row.key.pid) for row in rows] == pids
    assert [row.complete for row in rows] == [True, False, True]
    assert "zombie" in rows[1].outcome and rows[1].file is None
    assert answer.coverage.failed == 1 and not answer.coverage.complete
    assert len(list((tmp_path / "dumps").iterdir())) == 4
    assert os.stat(tmp_path / "dumps").st_mode & 0o777 == 0o700


def test_why_there_is_no_dump_is_counted(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [Denied("no"), Gone("ended"), Mismatch("another"), Unavailable("a zombie")]
    with running(program) as target:
        processes = [target.process] * len(failures)

    def fail(*_: object) -> Dump:
        raise failures.pop()

    monkeypatch.setattr(Dumper, "dump", fail)
    monkeypatch.setattr(preserve, "_everything", lambda host, tally: iter(processes))
    answer = dump(HOST, [], DumpRequest(), str(tmp_path))
    assert {row.outcome for row in answer} == {"no", "ended", "another", "a zombie"}
    assert (answer.coverage.denied, answer.coverage.vanished, answer.coverage.failed) == (1, 2, 1)


def test_limits_are_kept_and_named(program: str, tmp_path: Path) -> None:
    with running(program) as target:
        row, manifest = dumped(target.child.pid, tmp_path / "core", max_bytes=10 * PAGE, max_region_bytes=2 * PAGE)
    assert row.read_bytes == 10 * PAGE and not row.complete
    assert all(one.read_bytes <= 2 * PAGE for one in manifest.regions)
    details = {one.detail for region in manifest.regions for one in region.unread}
    assert any("--max-bytes" in str(one) for one in details)


def test_the_rate_is_kept(program: str, tmp_path: Path) -> None:
    with running(program) as target:
        row, _ = dumped(target.child.pid, tmp_path / "core", policy="executable", rate_bytes=4 << 20, registers=False)
    assert row.elapsed_ns >= row.read_bytes / (4 << 20) * 1e9 * 0.8


def test_someone_elses_tracer_is_named(program: str, tmp_path: Path) -> None:
    strace = need("strace", "strace")
    with running(program) as target:
        pid = target.child.pid
        with subprocess.Popen([strace, "-p", str(pid), "-o", "/dev/null"], stderr=subprocess.DEVNULL) as tracer:
            until(lambda: status(pid, "TracerPid") == str(tracer.pid))
            row, manifest = dumped(pid, tmp_path / "core")
            tracer.terminate()
    assert not row.complete and f"traced by process {tracer.pid}" in manifest.incomplete[0]
    assert [gap.field for gap in manifest.gaps] == ["registers"]


def test_gdbs_core_is_analysed(program: str, tmp_path: Path) -> None:
    from hostscope.collectors.analysis import AnalysisRequest, analyze

    gcore = need("gcore", "gdb")
    with running(program, threads=4) as target:
        pid = target.child.pid
        subprocess.run([gcore, "-o", str(tmp_path / "gdb"), str(pid)], check=True, capture_output=True)
        dumped(pid, tmp_path / "ours")
    theirs = analyze(str(tmp_path / f"gdb.{pid}"), AnalysisRequest())
    ours = analyze(str(tmp_path / "ours"), AnalysisRequest())
    assert {one.path for one in theirs.modules} == {one.path for one in ours.modules}
    assert {one.build_id for one in ours.modules} >= {one.build_id for one in theirs.modules}
    assert sorted(one.tid for one in theirs.threads) == sorted(one.tid for one in ours.threads)
    assert (ours.pid, ours.name) == (theirs.pid, theirs.name) == (pid, "dump_target")
    assert ours.verified is True and theirs.verified is None
    assert not [one for one in ours.anomalies if not one.heuristic]


def test_what_was_read_is_what_is_there(program: str) -> None:
    """Every readable byte, by process_vm_readv and by /proc/PID/mem."""
    with running(program) as target:
        key = target.process.key
        regions = HOST.memory.regions(key, True)
        with HOST.memory.open(key) as space, open(f"/proc/{key.pid}/mem", "rb", buffering=0) as mem:
            for region in regions:
                if region.flags and not {"io", "pf"} & set(region.flags) and region.start < 1 << 63:
                    for start, end in space.resident(region):
                        direct = space.read_bytes(start, end - start)
                        assert direct == os.pread(mem.fileno(), end - start, start)
