"""What commands write on this host is what docs/schemas says."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

from hostscope.cli.main import COMMANDS

pytestmark = pytest.mark.system

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
MAY_END = {
    "ps": {0}, "net": {0}, "tree": {0}, "inspect": {0}, "doctor": {0}, "counters": {0}, "containers": {0},
    "hidden": {0, 8, 10, 11}, "services": {0, 4, 6},
    "dump": {0}, "analyze": {0, 10}, "scan": {10}, "watch": {0}, "interfaces": {0}, "dns": {0},
    "capture": {0, 4, 6}, "traffic": {0, 4, 6}, "kill": {7}, "suspend": {7}, "resume": {0}, "audit": {0},
    "verify": {0},
}  # fmt: skip
"""Exit codes; where systemd is not the init there are no services."""


@cache
def validator(name: str) -> Draft202012Validator:
    schemas = [json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")]
    for schema in schemas:
        Draft202012Validator.check_schema(schema)
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas
    )
    return Draft202012Validator(registry.contents(name), registry=registry)


def output(*arguments: str) -> str:
    command = [sys.executable, "-m", "hostscope.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in MAY_END[arguments[0]], done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("ps", "--limit", "200"),
        ("ps", "--limit", "40", "--fields", "full,digest,ancestry"),
        ("ps", "--limit", "40", "--columns", "all", "--method", "proc"),
        ("tree", "--limit", "40"),
        ("inspect", "1"),
        ("doctor",),
        ("doctor", "iterator"),
        ("counters",),
        ("containers",),
        ("services",),
        ("hidden",),
        ("verify", "/bin/sh", str(os.getpid())),
        ("ps", "--limit", "40", "--fields", "signature"),
        ("net", "--all"),
        ("net", "--columns", "all"),
        ("traffic", "--duration", "0.2"),
        ("traffic", "--duration", "0.2", "--connections"),
        ("traffic", "--duration", "0.2", "--columns", "all"),
        ("interfaces",),
        ("interfaces", "--rates", "--interval", "0.1"),
        ("dns",),
        ("dns", "--duration", "0.2"),
        ("capture", "--interface", "lo", "--duration", "0.2", "--output", os.devnull),
        ("watch", "--duration", "0.3", "--kinds", "start,exec,exit,socket"),
        ("kill", "--dry-run", "1"),
        ("suspend", "--dry-run", "1"),
        ("resume", "--yes", str(os.getpid())),
        ("audit", "verify"),
        ("audit", "show", "--limit", "40"),
    ],
    ids=" ".join,
)
def test_documents(arguments: tuple[str, ...]) -> None:
    text = output(*arguments, "--format", "json")
    if text or arguments != ("services",):
        validator("document.json").validate(json.loads(text))


@pytest.mark.root
def test_documents_about_memory(tmp_path: Path) -> None:
    rules, core = tmp_path / "known.yar", tmp_path / "core"
    rules.write_text('rule known { strings: $a = "a known secret" condition: $a }')
    with subprocess.Popen([sys.executable, "-c", "input('a known secret')"], stdin=subprocess.PIPE) as target:
        for arguments in (
            ("dump", str(target.pid), "--output", str(core)),
            ("analyze", str(core)),
            ("scan", str(target.pid), "--rules", str(rules)),
        ):
            validator("document.json").validate(json.loads(output(*arguments, "--format", "json")))


def test_every_command_with_a_document_is_here() -> None:
    """A recording and a trace are lines; acts on services of ours say what they did in words."""
    assert MAY_END.keys() | {"record", "trace", "service"} == COMMANDS.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        ("ps", "--limit", "200", "--fields", "full"),
        ("ps", "--columns", "pid,caps", "--limit", "9"),
        ("traffic", "--duration", "0.2", "--connections"),
    ],
)
def test_lines(arguments: tuple[str, ...]) -> None:
    lines = output(*arguments, "--format", "ndjson").splitlines()
    assert len(lines) > 1
    for line in lines:
        validator("line.json").validate(json.loads(line))


def test_recordings(tmp_path: Path) -> None:
    path = tmp_path / "host.hscope"
    command = [sys.executable, "-m", "hostscope.cli.main", "record", str(path), "--fields", "full,digest"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    lines = path.read_bytes().splitlines()
    for line in [*lines[:100], *lines[-100:]]:
        validator("recording.json").validate(json.loads(line))


@pytest.mark.parametrize(
    "document",
    [
        {"schema": "hostscope.process/1", "rows": [{"name": "x"}], "coverage": {"method": "proc"}},
        {"schema": "hostscope.nothing/1", "rows": [], "coverage": {"method": "proc"}},
        {"schema": "hostscope.process/1", "rows": []},
    ],
)
def test_other_documents_do_not_pass(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validator("document.json").validate(document)
