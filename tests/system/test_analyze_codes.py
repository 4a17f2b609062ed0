"""What `analyze` exits with: bytes that were changed are a finding, a dump that lacks something is incomplete."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hostscope.collectors import analysis as analysis_
from hostscope.collectors.analysis import AnalysisRequest, analyze
from hostscope.dumps.core_file import CoreFile
from hostscope.dumps.manifest import encode_manifest
from hostscope.errors import UsageError
from hostscope.model.dump import Piece
from hostscope.model.gap import Reason
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


def test_what_was_cut_off_is_not_changed_code(tmp_path: Path) -> None:
    with built() as program, running(program) as target:
        dumped(target.child.pid, tmp_path / "core", max_region_bytes=2 * PAGE)
        dumped(target.child.pid, tmp_path / "less", max_bytes=PAGE)
    for name, alone in (("core", False), ("less", False), ("core", True), ("less", True)):
        if alone:  # then the holes of the file have to tell
            (tmp_path / f"{name}.json").unlink()
        _, analysis = analyzed(tmp_path / name, "--compare")
        assert {one["kind"] for one in analysis["anomalies"]} <= {"writable-executable", "executable-without-file"}


def test_a_manifest_that_promises_much_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with built() as program, running(program) as target:
        _, manifest = dumped(target.child.pid, tmp_path / "core", image="raw")
    one, size = manifest.regions[0], 1 << 26
    piece = Piece(0, size, size, ((0, size),), "00" * 32)
    region = replace(one.region, start=0, end=size)
    wide = replace(one, region=region, included=True, file_offset=0, pieces=(piece,), unread=())
    (tmp_path / "core.json").write_bytes(encode_manifest(replace(manifest, regions=(wide,))))
    os.truncate(tmp_path / "core", size)
    asked: list[int] = []
    read = CoreFile.read
    monkeypatch.setattr(CoreFile, "read", lambda core, at, count: asked.append(count) or read(core, at, count))
    found = analyze(str(tmp_path / "core"), AnalysisRequest(text=False))
    assert [one.kind for one in found.anomalies] == ["altered-dump"]
    assert max(asked) <= 1 << 20
    twice = encode_manifest(replace(manifest, regions=(replace(wide, pieces=(piece, piece)),)))
    (tmp_path / "core.json").write_bytes(twice)
    with pytest.raises(UsageError, match="not in order"):
        analyze(str(tmp_path / "core"), AnalysisRequest(text=False))


def test_more_anomalies_than_are_listed_are_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_, "MOST_ALTERED", 1)
    with built() as program, running(program) as target:
        dumped(target.child.pid, tmp_path / "core")
    with open(tmp_path / "core", "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(size // 2)
        file.write(bytes(size - size // 2))
    found = analyze(str(tmp_path / "core"), AnalysisRequest(text=False, compare=False))
    assert [one.kind for one in found.anomalies if one.kind == "altered-dump"] == ["altered-dump"]
    assert any(gap.field == "anomalies" and gap.reason == Reason.TRUNCATED for gap in found.gaps)
