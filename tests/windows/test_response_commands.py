"""Commands that act on several processes or search their memory, as people type them, on a Windows Python."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.windows.children import Child
from tests.windows.test_commands import SLEEPER, document, typed

PARENT = """
import subprocess
below = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
say(below=below.pid)
wait()
"""
MARKED = "kept = b'needle-' + os.urandom(8).hex().encode(); say(needle=kept.decode()); wait()"
RULES = 'rule marked {{ strings: $a = "{}" condition: $a }}'


def test_a_tree_ends_with_its_evidence_kept(child: Callable[..., Child], tmp_path: Path) -> None:
    one, other = child(PARENT), child(SLEEPER)
    pids = {one.pid, one.told["below"]}
    folder = tmp_path / "evidence"
    command = ("kill", str(one.pid), "--tree", "--yes", "--grace", "0", "--evidence", str(folder), "--reason", "a test")
    assert "2 done" in typed(*command)
    one.process.wait(60)
    assert other.process.poll() is None
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob("process.json")]
    assert {record["inspection"]["process"]["key"]["pid"] for record in kept} == pids
    assert len(list(folder.rglob("memory.dmp"))) == 2


def test_rules_match_what_a_child_remembers(child: Callable[..., Child], tmp_path: Path) -> None:
    one, other, rules = child(MARKED), child(SLEEPER), tmp_path / "marked.yar"
    rules.write_text(RULES.format(one.told["needle"]), encoding="utf-8")
    found = document("scan", str(one.pid), str(other.pid), "--rules", str(rules), code=10)
    assert {row["key"]["pid"] for row in found["rows"]} == {one.pid}


def test_several_dumps_of_one_command(child: Callable[..., Child], tmp_path: Path) -> None:
    ours = [child(MARKED), child(MARKED)]
    typed("dump", *(str(one.pid) for one in ours), "--output", str(tmp_path))
    dumps = sorted(tmp_path.glob("*.dmp"))
    assert len(dumps) == 2
    for one in ours:
        (own,) = (path for path in dumps if path.name.startswith(f"{one.pid}-"))
        assert one.told["needle"].encode() in own.read_bytes()


def test_a_tree_of_processes(child: Callable[..., Child]) -> None:
    one = child(PARENT)
    lines = typed("ps", "--tree", "--columns", "pid,name").splitlines()
    shown = [line.split()[0] for line in lines if line.strip()]
    places = [shown.index(str(pid)) for pid in (one.pid, one.told["below"])]
    assert places[0] < places[1]


@pytest.mark.parametrize("command", ["containers", "counters", "dns", "record", "net"])
def test_nothing_else_fails(command: str, tmp_path: Path) -> None:
    more = {"record": [str(tmp_path / "host.hscope")], "net": ["--resolve"]}
    typed(command, *more.get(command, []))


def test_a_summary_of_calls() -> None:
    traced = (sys.executable, "-c", "import mmap; mmap.mmap(-1, 4096)")
    command = [sys.executable, "-m", "hostscope", "trace", "--summary", "--", *traced]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True)
    (line,) = (line for line in done.stderr.splitlines() if line.endswith(" VirtualAlloc"))
    assert int(line.split()[3]) > 0
