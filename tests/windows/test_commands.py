"""The command itself, as people type it, on a Windows Python: real output about children whose truth is known."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostscope import __version__
from tests.windows.children import Child

SLEEPER = "say(argv=sys.argv[1:], cwd=os.getcwd(), parent=os.getppid()); wait()"
LISTENER = """
import socket
one = socket.create_server(("127.0.0.1", 0))
say(port=one.getsockname()[1])
wait()
"""


def typed(*arguments: str, code: int = 0) -> str:
    """What the command says; fails unless it ends with `code`."""
    command = [sys.executable, "-m", "hostscope", *arguments]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=kept, timeout=120, check=False)
    assert done.returncode == code, done.stderr.decode()
    return (done.stdout + (done.stderr if code else b"")).decode()


def document(*arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(typed(*arguments, "--format", "json", code=code))
    return found


def test_help_and_version() -> None:
    assert typed("--version").strip() == f"hostscope {__version__}"
    assert "  ps " in typed("--help")


def test_ps_shows_a_child_as_it_is(child: Callable[..., Child]) -> None:
    one = child(SLEEPER, "wörd", "two words")
    (row,) = document("ps", str(one.pid), "--fields", "full")["rows"]
    assert (row["key"]["pid"], row["ppid"]) == (one.pid, os.getpid())
    assert row["name"] == "python.exe"
    assert row["argv"][-2:] == ["wörd", "two words"]
    assert row["exe"]["path"].lower() == sys.executable.lower()
    assert row["windows"] is not None


def test_ps_as_a_table_and_filtered(child: Callable[..., Child]) -> None:
    one = child(SLEEPER, "needle-in-the-arguments")
    lines = typed("ps", "--filter", f"pid == {one.pid}", "--columns", "pid,ppid,name,command").splitlines()
    assert lines[0].split() == ["PID", "PPID", "NAME", "COMMAND"]
    assert lines[1].split()[:3] == [str(one.pid), str(os.getpid()), "python.exe"]
    assert "needle-in-the-arguments" in lines[1]


def test_tree_hangs_a_child_below_us(child: Callable[..., Child]) -> None:
    one = child(SLEEPER)
    lines = typed("tree", "--columns", "pid,name").splitlines()
    assert any(line.strip().startswith(str(one.pid)) for line in lines)


def test_inspect_a_child(child: Callable[..., Child]) -> None:
    one = child(SLEEPER)
    process = document("inspect", str(one.pid))["inspection"]["process"]
    assert process["key"]["pid"] == one.pid
    assert process["cwd"].rstrip("\\").lower() == one.told["cwd"].rstrip("\\").lower()


def test_net_shows_a_listener(child: Callable[..., Child]) -> None:
    port = child(LISTENER).told["port"]
    rows = document("net", f":{port}")["rows"]
    assert [(row["local"]["port"], row["state"]) for row in rows] == [(port, "listen")]


def test_interfaces_have_the_loopback_address() -> None:
    rows = document("interfaces")["rows"]
    assert any("127.0.0.1" in json.dumps(row["addresses"]) for row in rows)


def test_services_name_the_running_ones() -> None:
    rows = document("services")["rows"]
    mains = {row["main_pid"] for row in rows if row["state"] == "active"}
    names = {row["key"]["pid"]: row["name"] for row in document("ps")["rows"]}
    assert any(names.get(pid) in ("services.exe", "winedevice.exe", "svchost.exe") for pid in mains)


def test_doctor_says_what_works() -> None:
    text = typed("doctor")
    assert "processes" in text


def test_dump_and_analyze_find_what_a_child_remembers(child: Callable[..., Child], tmp_path: Path) -> None:
    one = child("kept = b'needle-' + os.urandom(8).hex().encode(); say(needle=kept.decode()); wait()")
    target = tmp_path / "child.dmp"
    typed("dump", str(one.pid), "--output", str(target))
    assert target.read_bytes()[:4] == b"MDMP"
    assert one.told["needle"].encode() in target.read_bytes()
    found = document("analyze", str(target), "--no-text")
    assert found["analysis"]


@pytest.mark.parametrize("taken", ["--yes", "--dry-run"])
def test_kill_ends_the_child_that_was_named(child: Callable[..., Child], taken: str) -> None:
    one, other = child(SLEEPER), child(SLEEPER)
    typed("kill", str(one.pid), taken)
    if taken == "--yes":
        assert one.process.wait(60) != 0
    else:
        assert one.process.poll() is None
    assert other.process.poll() is None


def test_kill_refuses_without_a_word_of_confirmation(child: Callable[..., Child]) -> None:
    one = child(SLEEPER)
    assert "confirm" in typed("kill", str(one.pid), code=7)
    assert one.process.poll() is None


def test_a_pid_of_nobody_is_gone() -> None:
    assert "hostscope:" in typed("inspect", "2147483640", code=3)


def test_a_recording_is_played_again(child: Callable[..., Child], tmp_path: Path) -> None:
    one, file = child(SLEEPER), tmp_path / "host.hscope"
    typed("record", str(file))
    (row,) = document("ps", "--replay", str(file), "--filter", f"pid == {one.pid}")["rows"]
    assert row["name"] == "python.exe"


def test_a_closed_pipe_is_silent() -> None:
    command = [sys.executable, "-m", "hostscope", "ps", "--format", "ndjson"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        assert one.stdout and one.stderr
        one.stdout.close()
        assert one.stderr.read() == b""
        assert one.wait(60) == 0


def test_secrets_are_shown_to_those_who_may_see_them(child: Callable[..., Child]) -> None:
    one = child(SLEEPER, "--password=hunter2")
    assert "hunter2" not in typed("ps", str(one.pid), "--format", "json")
    assert "hunter2" in typed("ps", str(one.pid), "--format", "json", "--reveal")  # it is ours


SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize(
    "arguments",
    [("ps", "--fields", "full,digest,ancestry"), ("ps", "--columns", "all"), ("tree",), ("inspect", "SELF"),
     ("doctor",), ("counters",), ("containers",), ("services",), ("net",), ("interfaces",), ("dns",),
     ("verify", sys.executable)],
    ids=" ".join,
)  # fmt: skip
def test_documents_are_what_their_schemas_say(arguments: tuple[str, ...]) -> None:
    jsonschema, referencing = pytest.importorskip("jsonschema"), pytest.importorskip("referencing")
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")]
    registry = referencing.Registry().with_resources(
        (schema["$id"], referencing.Resource.from_contents(schema)) for schema in schemas
    )
    validator = jsonschema.Draft202012Validator(registry.contents("document.json"), registry=registry)
    validator.validate(document(*(str(os.getpid()) if one == "SELF" else one for one in arguments)))


REFUSED = {
    ("inspect", "999999996"): 3, ("inspect", "99999999999"): 2, ("inspect", "no such program"): 3,
    ("inspect", ":70000"): 2, ("ps", "--columns", "pid,nosuch"): 2, ("ps", "--filter", "pid ="): 2,
    ("ps", "--method", "proc"): 2, ("ps", "--replay", "C:\\no such file"): 2, ("verify", "C:\\no such file"): 2,
    ("watch", "--kinds", "credentials"): 2, ("counters", "--counter", "nonsense"): 2, ("dump", "999999996"): 3,
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "code"), REFUSED.items(), ids=map(" ".join, REFUSED))
def test_bad_input_gets_one_clear_line_and_leaves_no_file(
    arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    told = typed(*arguments, "--output", str(tmp_path / "answer"), code=code)
    first, *rest = told.strip().splitlines()
    assert first.startswith("hostscope: ") and all(line.startswith("hint: ") for line in rest)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["no such folder\\answer", "."])
def test_files_that_cannot_be_written(place: str, tmp_path: Path) -> None:
    told = typed("ps", "--output", str(tmp_path / place), code=2)
    assert told.startswith("hostscope: ") and list(tmp_path.iterdir()) == []
