"""The commands that show processes, typed on Windows."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.windows.children import Child

Start = Callable[..., Child]
CODE = "say()\nwait()\n"


@pytest.fixture
def typed(tmp_path: Path) -> Callable[..., str]:
    """Runs the command; what it prints."""
    environment = {**os.environ, "HOSTSCOPE_AUDIT": str(tmp_path / "audit.jsonl"), "PYTHONUTF8": "1"}

    def run(*arguments: str, code: int = 0) -> str:
        # Asked for windows, Wine starts its desktop, which inherits our handles and keeps a pipe open for long.
        answer = tmp_path / "answer"
        command = [sys.executable, "-m", "hostscope", *arguments, "--output", str(answer)]
        nothing = subprocess.DEVNULL
        ended = subprocess.run(
            command, stdin=nothing, stdout=nothing, stderr=nothing, env=environment, timeout=120, check=False
        )
        assert ended.returncode == code
        return answer.read_text(encoding="utf-8") if answer.exists() else ""

    return run


def document(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("method", [[], ["--method", "toolhelp"]])
def test_ps(typed: Callable[..., str], child: Start, method: list[str]) -> None:
    one = child(CODE, "an argument", "--password=hunter2")
    found = document(typed("ps", "--format", "json", *method))
    row = next(row for row in found["rows"] if row["key"]["pid"] == one.pid)
    assert row["argv"][-2] == "an argument"
    assert "hunter2" not in json.dumps(row)
    assert row["ppid"] == os.getpid()
    assert found["coverage"]["method"] == (method[1] if method else "native")
    assert found["coverage"]["rows"] == len(found["rows"])


def test_ps_for_people(typed: Callable[..., str], child: Start) -> None:
    one = child(CODE)
    lines = typed("ps").splitlines()
    assert lines[0].split()[:3] == ["PID", "PPID", "USER"]
    assert any(line.split()[:1] == [str(one.pid)] for line in lines)


def test_tree(typed: Callable[..., str], child: Start) -> None:
    one = child(CODE)
    lines = typed("tree").splitlines()
    ours = next(place for place, line in enumerate(lines) if line.split()[:1] == [str(os.getpid())])
    theirs = next(place for place, line in enumerate(lines) if line.split()[:1] == [str(one.pid)])
    assert ours < theirs
    assert "─" in lines[theirs]


def test_inspect(typed: Callable[..., str], child: Start) -> None:
    one = child(CODE, env={**os.environ, "HOSTSCOPE_MARK": "seen", "API_TOKEN": "hunter2"})
    text = typed("inspect", str(one.pid))
    for heading in ("Why it runs", "Windows", "Open files", "Memory maps", "Threads", "Modules", "Environment"):
        assert f"\n{heading}\n" in text, heading
    assert "python.exe" in text and "HOSTSCOPE_MARK" in text and "hunter2" not in text
    found = document(typed("inspect", str(one.pid), "--format", "json"))
    process, detail = found["inspection"]["process"], found["inspection"]["detail"]
    assert process["key"]["pid"] == one.pid
    assert process["digest"]["sha256"]
    assert {module["name"].lower() for module in detail["modules"]} >= {"python.exe", "ntdll.dll"}
    assert "hunter2" not in json.dumps(found)


def test_inspect_of_nobody(typed: Callable[..., str]) -> None:
    typed("inspect", "999999996", code=3)


def test_hidden_finds_nothing_on_an_honest_host(typed: Callable[..., str]) -> None:
    found = document(typed("hidden", "--format", "json"))
    assert found["rows"] == []
    assert found["coverage"]["method"] == "views listing, toolhelp, enum_processes, probe"
    assert found["coverage"]["hidden"] is None
