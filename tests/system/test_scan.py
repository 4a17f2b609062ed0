"""YARA rules over live processes, and the three commands from outside."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hostscope.collectors.scan import scan
from hostscope.dumps import matching
from hostscope.errors import Denied, Gone
from hostscope.model.dump import DumpAnalysis, Manifest
from hostscope.platforms import open_host
from tests.system.dump_target import status, until
from tests.system.told_child import told_child

pytestmark = pytest.mark.system
HOST = open_host()
# In hexadecimal, so that neither the rule's file nor this test's memory matches.
WORD = "nEEdle-of-the-test-of-scan"
RULE = "rule found_it : test { strings: $a = { %s } condition: $a }" % WORD.encode().hex(" ")  # noqa: UP031
HOLD = (
    "import ctypes, mmap, os, sys\n"
    f"word = bytes.fromhex('{WORD.encode().hex()}')\n"
    "m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
    "m[5000 : 5000 + len(word)] = word\n"
    "told = ctypes.addressof(ctypes.c_char.from_buffer(m)) + 5000\n"
)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "test.yar").write_text(RULE)
    return str(tmp_path / "rules")


def command(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "hostscope", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, **options)


def test_memory_is_found_where_it_is(rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with told_child(HOLD) as (pid, address):
        found = scan(HOST, [str(pid)], rules).rows()
        monkeypatch.setattr(matching, "PART_BYTES", 8192)
        monkeypatch.setattr(matching, "OVERLAP_BYTES", 4096)
        again = scan(HOST, [str(pid)], rules).rows()
    assert address in {one.address for one in found}
    (one,) = [one for one in found if one.address == address]
    assert (one.rule, one.namespace, one.tags, one.length_bytes) == ("found_it", "test", ("test",), len(WORD))
    assert (one.pid, one.place, one.permissions) == (pid, "memory", "rw-p")
    assert one.key and one.key.pid == pid
    assert [one.address for one in again] == [one.address for one in found]


def test_executables_are_scanned_once_each(tmp_path: Path) -> None:
    program = tmp_path / "sleeping"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with open(program, "ab") as file:
        file.write(b"appended-" + WORD.encode())
    (tmp_path / "r.yar").write_text(RULE)
    with subprocess.Popen([program, "60"]) as one, subprocess.Popen([program, "60"]) as two:
        program.unlink()
        found = scan(HOST, [str(one.pid), str(two.pid)], str(tmp_path / "r.yar"), memory=False).rows()
        one.kill()
        two.kill()
    assert [(match.pid, match.place, match.address) for match in found] == [
        (one.pid, "executable", None), (two.pid, "executable", None),
    ]  # fmt: skip
    assert found[0].offset == found[1].offset and found[0].path == str(program)


def test_an_executable_of_a_terabyte_with_holes_is_scanned_where_it_holds_something(tmp_path: Path) -> None:
    program, end = tmp_path / "sleeping", 1 << 40
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with open(program, "r+b") as file:
        file.seek(end)
        file.write(WORD.encode())
    (tmp_path / "r.yar").write_text(RULE)
    with subprocess.Popen([program, "60"]) as child:
        found = scan(HOST, [str(child.pid)], str(tmp_path / "r.yar"), memory=False).rows()
        child.kill()
    assert [(match.place, match.offset) for match in found] == [("executable", end)]


def test_all_processes_but_ours(rules: str) -> None:
    with told_child(HOLD) as (pid, _):
        answer = scan(HOST, [], rules, executable=False)
        found = answer.rows()
    assert pid in {one.pid for one in found} and os.getpid() not in {one.pid for one in found}
    assert any("left out" in note for note in answer.coverage.notes)


def test_one_of_several_of_a_name_that_has_ended(tmp_path: Path) -> None:
    """Each once, however often it is meant; and who ended keeps nobody from being scanned."""
    program = tmp_path / "two-of-a-name"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with open(program, "ab") as file:
        file.write(WORD.encode())
    (tmp_path / "r.yar").write_text(RULE)
    with subprocess.Popen([program, "0"]) as ended, subprocess.Popen([program, "60"]) as one:
        until(lambda: status(ended.pid, "State").startswith("Z"))
        for targets in (["two-of-a-name"], ["two-of-a-name", str(one.pid), str(one.pid)]):
            answer = scan(HOST, targets, str(tmp_path / "r.yar"), memory=False)
            assert [match.pid for match in answer] == [one.pid]
            assert (answer.coverage.seen, answer.coverage.failed) == (2, 1)
        one.kill()


def test_one_that_is_gone(rules: str) -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    with pytest.raises(Gone):
        scan(HOST, [str(child.pid)], rules).rows()


@pytest.mark.root
def test_without_privileges(rules: str) -> None:
    script = """
import hostscope.collectors.scan
from hostscope.platforms import open_host
from hostscope.errors import Denied
host = open_host()
try:
    hostscope.collectors.scan.scan(host, ["1"], "RULES").rows()
    told = None
except Denied as denied:
    answer = hostscope.collectors.scan.scan(host, [], "RULES", executable=False)
    answer.rows()
    told = [denied.hint, answer.coverage.denied, answer.coverage.seen]
"""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copy(f"{rules}/test.yar", f"{folder}/test.yar")
        with told_child(script.replace("RULES", folder), drop=True, before="import yara_x\n") as (_, told):
            assert told is not None
    assert "CAP_SYS_PTRACE" in told[0] and 0 < told[1] <= told[2]
    assert issubclass(Denied, PermissionError)


@pytest.fixture
def holder() -> Iterator[tuple[int, int]]:
    with told_child(HOLD) as held:
        yield held


def test_the_commands(holder: tuple[int, int], rules: str, tmp_path: Path) -> None:
    pid, address = holder
    path = str(tmp_path / "core")
    done = command("dump", str(pid), "--output", path, "--reason", "a test", "--format", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["file"], row["complete"], row["key"]["pid"]) == (path, True, pid)
    manifest = msgspec.json.decode(Path(path + ".json").read_bytes(), type=Manifest)
    assert manifest.why == "a test" and manifest.observer.user_id == str(os.getuid())
    done = command("analyze", path, "--rules", rules, "--format", "json")
    assert done.returncode in (10, 11), done.stderr
    document = json.loads(done.stdout)
    analysis = msgspec.convert(document["analysis"], DumpAnalysis)
    assert document["schema"] == "hostscope.dump_analysis/1"
    assert address in {one.address for one in analysis.matches} and analysis.verified is True
    assert any(WORD in one.text for one in analysis.strings) or len(analysis.strings) == 1000
    page = command("analyze", path, "--strings", "5").stdout
    assert "Threads" in page and "Modules" in page and "\x1b" not in page
    done = command("scan", str(pid), "--rules", rules)
    assert done.returncode == 10 and "found_it" in done.stdout and f"{address:#x}" in done.stdout
    trail = Path(os.environ["HOSTSCOPE_AUDIT"]).read_text()
    assert '"action":"dump.begin"' in trail and '"why":"a test"' in trail


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["dump"], 2, "which processes?"),
        (["dump", "1", "--all"], 2, "which processes?"),
        (["dump", "1", "--max-bytes", "lots"], 2, "no size"),
        (["dump", "999999999"], 3, "no such process"),
        (["dump", "1", "--policy", "none"], 2, "policy"),
        (["scan", "1", "--rules", "/nowhere.yar"], 2, "cannot read"),
        (["scan", "1", "--rules", "/", "--no-memory", "--no-executable"], 2, "nothing is left"),
        (["analyze", "/etc/passwd"], 2, "not an ELF file"),
        (["analyze", "/bin/sh"], 2, "a program"),
    ],
)
def test_bad_requests_are_one_line(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = command(*words, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert done.stderr.startswith("hostscope: ") and done.stderr.count("\n") <= 2
    assert done.stdout == "" and list(tmp_path.iterdir()) == []


def test_a_dump_of_our_own_parent(tmp_path: Path) -> None:
    """The own process tree is allowed; here the command's parent, this test."""
    done = command("dump", str(os.getpid()), "--policy", "executable", "--output", str(tmp_path / "core"))
    assert done.returncode == 0, done.stderr
