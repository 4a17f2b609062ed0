"""As root, commands keep their privileges out of effect, and still read what they are given, whosever it is."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostscope.audit import AuditTrail
from tests.system.told_child import NOBODY, run_told

pytestmark = [pytest.mark.system, pytest.mark.root]


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Path]:
    """A folder of another user's that nobody else may enter."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    yield folder
    for where, _, names in os.walk(folder):
        for path in (where, *(os.path.join(where, name) for name in names)):
            os.chmod(path, 0o700)


def give_away(folder: Path) -> None:
    for where, _, names in os.walk(folder, topdown=False):
        for path in (*(os.path.join(where, name) for name in names), where):
            os.chown(path, NOBODY, NOBODY)
            os.chmod(path, 0o700 if path == where else 0o600)


def said(trail: Path, *words: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "hostscope", *words], env=os.environ | {"HOSTSCOPE_AUDIT": str(trail)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return f"{run.returncode} {run.stdout}{run.stderr}"


def test_what_root_is_given_is_read(theirs: Path, tmp_path: Path) -> None:
    own = tmp_path / "trail"
    shutil.copy("/bin/sleep", theirs / "program")
    (theirs / "rules").mkdir()
    (theirs / "rules" / "one.yar").write_text("rule one { condition: true }")
    AuditTrail(theirs / "audit.jsonl").append("x")
    with subprocess.Popen(["sleep", "60"]) as target:
        try:
            dumped = said(own, "dump", str(target.pid), "--policy", "executable", "--output", str(theirs / "core"))
            give_away(theirs)
            told = [
                said(own, "verify", str(theirs / "program")),
                said(own, "scan", "--no-memory", "--rules", str(theirs / "rules"), str(target.pid)),
                said(own, "scan", "--no-memory", "--rules", str(theirs / "rules" / "one.yar"), str(target.pid)),
            ]
        finally:
            target.kill()
    assert dumped.startswith("0")
    told += [
        said(own, "analyze", "--no-text", "--no-compare", str(theirs / "core")),
        said(own, "audit", "verify", str(theirs / "audit.jsonl")),
        said(own, "audit", "show", str(theirs / "audit.jsonl")),
    ]
    assert [one.split()[0] for one in told] == ["0", "10", "10", "0", "0", "0"], told
    raised = [line.what for line in AuditTrail(own).entries() if line.action == "privilege.raise"]
    assert raised.count("dac_read_search") >= len(told)


def test_who_has_no_such_right_is_told(theirs: Path) -> None:
    give_away(theirs)
    os.chown(theirs, 0, 0)
    script = f"""
from hostscope.errors import Error
from hostscope.session import open_session
session = open_session().__enter__()
told = []
for step in (
    lambda: list(session.verify(["{theirs}/program"])),
    lambda: session.scan(["1"], "{theirs}/rules"),
    lambda: session.analyze("{theirs}/core"),
    lambda: session.verify_trail(("{theirs}/audit.jsonl",)),
):
    try:
        step()
    except Error as failed:
        told.append([failed.exit_code, failed.message])
"""
    assert run_told(script, drop=True, before="import yara_x") == [
        [4, f"cannot read {theirs}/program: Permission denied"],
        [2, f"cannot read {theirs}/rules: Permission denied"],
        [4, f"cannot read {theirs}/core: Permission denied"],
        [4, f"cannot read audit trail {theirs}/audit.jsonl: Permission denied"],
    ]
