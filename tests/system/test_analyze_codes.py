"""What `analyze` exits with: bytes that were changed are a finding, a dump that lacks something is incomplete."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.dump_target import PAGE, built, dumped, running

pytestmark = pytest.mark.system


def analyzed(path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    words = ["analyze", str(path), "--no-text", "--no-compare", "--format", "json", *more]
    done = subprocess.run([sys.executable, "-m", "hostscope", *words], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)["analysis"]


def alter(path: Path) -> None:
    """One byte of what was read first."""
    regions = json.loads(Path(f"{path}.json").read_text())["regions"]
    one = next(one for one in regions if one["pieces"] and one["pieces"][0]["ranges"])
    with open(path, "r+b") as file:
        file.seek(one["file_offset"] + one["pieces"][0]["ranges"][0][0] - one["region"]["start"])
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def test_codes(tmp_path: Path) -> None:
    whole, cut_off = tmp_path / "whole", tmp_path / "cut"
    with built() as program, running(program) as target:
        dumped(target.child.pid, whole)
        dumped(target.child.pid, cut_off, max_bytes=10 * PAGE)
    assert [analyzed(whole, *more)[0] for more in ((), ("--strict",))] == [0, 0]
    assert [analyzed(cut_off, *more)[0] for more in ((), ("--strict",))] == [0, 8]
    assert any("cut off" in gap["detail"] for gap in analyzed(cut_off)[1]["gaps"])
    for path, code in ((whole, 10), (cut_off, 11)):
        alter(path)
        given, analysis = analyzed(path)
        assert (given, analysis["verified"]) == (code, False)
        assert analysis["anomalies"][0]["kind"] == "altered-dump"
        assert analyzed(path, "--no-verify")[1]["verified"] is None


def test_a_file_that_ends_early_is_incomplete(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    with built() as program, running(program) as target:
        dumped(target.child.pid, whole)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert not any("ends early" in gap["detail"] for gap in analyzed(whole)[1]["gaps"])
    code, analysis = analyzed(half, "--strict")
    assert code in (8, 11)
    assert any("ends early" in gap["detail"] for gap in analysis["gaps"])
    assert "ends early" in analysis["notes"][0]
