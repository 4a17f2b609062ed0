"""A dump that the system writes: what it has is digested, what it left out is named, and it knows no options."""

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from hostscope.collectors.analysis import AnalysisRequest, analyze
from hostscope.dumps.manifest import parse_manifest
from hostscope.errors import Gone, UsageError
from hostscope.model.dump import SYSTEM, DumpRequest, Observer
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.respond.system_dump import SystemDumper
from tests.unit.dumps.test_minidump import INCLUDED, REGIONS, region, written

OBSERVER = Observer("host", "Windows", "10.0", "AMD64", None, None, None, "hostscope test")
PROCESS = Process(key=ProcessKey("boot", 0, 4711, 1), ppid=1, name="app.exe")
REQUEST = DumpRequest(image=SYSTEM)


def dumper(content: bytes, regions: tuple[Any, ...] = REGIONS, request: DumpRequest = REQUEST) -> SystemDumper:
    """On a host whose system writes these bytes."""

    def write_dump(key: ProcessKey, fd: int) -> None:
        if not content:
            raise Gone("it ended")
        os.write(fd, content)

    host = SimpleNamespace(memory=SimpleNamespace(regions=lambda key, private: regions))
    control = SimpleNamespace(write_dump=write_dump)
    return SystemDumper(host, control, request, OBSERVER, nullcontext, False)  # type: ignore[arg-type]


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return written(tmp_path / "written")


def test_every_byte_has_its_digest(content: bytes, tmp_path: Path) -> None:
    path = str(tmp_path / "a.dmp")
    row = dumper(content).dump(PROCESS, path)
    manifest = parse_manifest(Path(f"{path}.json").read_bytes())
    assert (row.complete, row.outcome, row.threads) == (True, "done", 1)
    assert [each.included for each in manifest.regions] == list(INCLUDED)
    assert all(each.sha256 and each.read_bytes == each.region.size_bytes for each in manifest.regions if each.included)
    assert manifest.consistency == "frozen" and manifest.image == "minidump"
    assert analyze(path, AnalysisRequest()).verified is True
    raw = bytearray(Path(path).read_bytes())
    raw[-1] ^= 1
    Path(path).write_bytes(raw)
    assert analyze(path, AnalysisRequest()).verified is False


def test_what_it_left_out_is_named(content: bytes, tmp_path: Path) -> None:
    missing = region(0x50_0000, 3)
    path = str(tmp_path / "a.dmp")
    row = dumper(content, tuple(sorted((*REGIONS, missing), key=lambda one: one.start))).dump(PROCESS, path)
    assert not row.complete and row.unread_bytes == missing.size_bytes
    assert "not in it" in row.outcome
    manifest = parse_manifest(Path(f"{path}.json").read_bytes())
    (lacking,) = [each for each in manifest.regions if each.unread]
    assert (lacking.region.start, lacking.region.end) == (missing.start, missing.end)
    assert analyze(path, AnalysisRequest()).verified is True


def test_without_digests(content: bytes, tmp_path: Path) -> None:
    path = str(tmp_path / "a.dmp")
    dumper(content, request=replace(REQUEST, hash="none")).dump(PROCESS, path)
    assert analyze(path, AnalysisRequest()).verified is None


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(Gone):
        dumper(b"").dump(PROCESS, str(tmp_path / "a.dmp"))
    with pytest.raises(UsageError):
        dumper(b"no minidump at all, but an answer").dump(PROCESS, str(tmp_path / "b.dmp"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "asked", [{"policy": "private"}, {"compression": "zstd"}, {"freeze": True}, {"max_bytes": 1}, {"registers": False}]
)
def test_it_knows_no_options(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="holds everything"):
        dumper(b"", request=replace(REQUEST, **asked))
