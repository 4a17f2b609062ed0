"""Dumps of real processes, read back by ourselves and by the `minidump` package."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostscope.collectors.analysis import AnalysisRequest, analyze
from tests.windows.children import Child
from tests.windows.missing import unless_missing

HOLDER = """
import ctypes
marker = ctypes.create_string_buffer(b"http://marker.example.net/" + b"0123456789" * 20)
say(marker=ctypes.addressof(marker))
wait()
say(alive=True)
wait()
"""


def typed(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "hostscope", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)


def dumped(one: Child, path: Path, *options: str) -> dict[str, Any]:
    done = typed("dump", str(one.pid), "--output", str(path), *options)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    manifest: dict[str, Any] = json.loads(Path(f"{path}.json").read_bytes())
    return manifest


def test_the_minidump_package_reads_what_the_child_held(child: Callable[..., Child], tmp_path: Path) -> None:
    minidump = pytest.importorskip("minidump.minidumpfile")
    one, path = child(HOLDER), tmp_path / "child.dmp"
    manifest = dumped(one, path)
    assert (manifest["image"], manifest["complete"], manifest["consistency"]) == ("minidump", True, "running")
    found = minidump.MinidumpFile.parse(str(path))
    reader = found.get_reader().get_buffered_reader()
    reader.move(one.told["marker"])
    assert reader.read(26) == b"http://marker.example.net/"
    names = {module.name.rpartition("\\")[2].lower() for module in found.modules.modules}
    assert {"python.exe", "ntdll.dll", "python311.dll"} <= names
    assert found.modules.modules[0].name.lower().endswith("python.exe")
    assert found.sysinfo.ProcessorArchitecture.name == "AMD64"
    assert found.misc_info.ProcessId == one.pid
    (thread,) = found.threads.threads
    assert thread.ContextObject.Rip and thread.Teb
    found.file_handle.close()
    assert one.ask() == {"alive": True}


def test_analyze_tells_what_the_child_is(child: Callable[..., Child], tmp_path: Path) -> None:
    one, path = child(HOLDER), tmp_path / "child.dmp"
    dumped(one, path, "--compress", "zstd")
    found = analyze(str(path), AnalysisRequest())
    assert (found.image, found.architecture, found.pid) == ("minidump", "x86_64", one.pid)
    assert found.verified is True
    assert "http://marker.example.net/" in {each.value[:26] for each in found.indicators}
    assert found.arguments and "-X utf8" in found.arguments
    (thread,) = found.threads
    assert thread.module and thread.module.lower().endswith(".dll")


def test_frozen_and_limited(child: Callable[..., Child], tmp_path: Path) -> None:
    one = child(HOLDER)
    frozen = dumped(one, tmp_path / "frozen.dmp", "--freeze")
    assert frozen["consistency"] in ("frozen", "snapshot")
    if frozen["consistency"] == "frozen":
        assert any("suspended instead" in note for note in frozen["notes"])
    executable = dumped(one, tmp_path / "code.dmp", "--policy", "executable")
    left_out = [each for each in executable["regions"] if not each["included"]]
    assert left_out and all(each["skipped"] for each in left_out)
    assert all("x" in each["region"]["permissions"] for each in executable["regions"] if each["included"])
    assert one.ask() == {"alive": True}


def test_a_limit_is_written_down(child: Callable[..., Child], tmp_path: Path) -> None:
    one, path = child(HOLDER), tmp_path / "short.dmp"
    done = typed("dump", str(one.pid), "--output", str(path), "--max-bytes", "1M")
    assert done.returncode == 8
    manifest = json.loads(Path(f"{path}.json").read_bytes())
    assert not manifest["complete"] and manifest["read_bytes"] == 1 << 20


def test_what_dbghelp_writes_is_read(child: Callable[..., Child], tmp_path: Path) -> None:
    """MiniDumpWriteDump is the reference writer: its streams are not laid out as ours are."""
    from hostscope.platforms.windows.native import dbghelp, handles

    one, path = child(HOLDER), tmp_path / "system.dmp"
    access = handles.PROCESS_QUERY_INFORMATION | handles.PROCESS_VM_READ | handles.PROCESS_DUP_HANDLE
    with unless_missing(), handles.opened(one.pid, access) as process, open(path, "wb") as file:
        dbghelp.write_dump(process, one.pid, file.fileno(), dbghelp.MiniDumpWithFullMemory)
    found = analyze(str(path), AnalysisRequest(text=False))
    assert (found.image, found.architecture) == ("minidump", "x86_64")
    assert any(module.path.lower().endswith("ntdll.dll") for module in found.modules) or not found.modules
    assert found.threads


def test_a_dump_by_windows_has_the_same_manifest(child: Callable[..., Child], tmp_path: Path) -> None:
    one, path = child(HOLDER), tmp_path / "system.dmp"
    done = typed("dump", str(one.pid), "--output", str(path), "--image", "system")
    assert done.returncode in (0, 8), done.stderr
    manifest = json.loads(Path(f"{path}.json").read_bytes())
    assert (manifest["image"], manifest["consistency"]) == ("minidump", "frozen")
    assert manifest["file_bytes"] == path.stat().st_size
    assert manifest["complete"] is (done.returncode == 0)
    assert all(each["sha256"] for each in manifest["regions"] if each["read_bytes"])
    starts = [each["region"]["start"] for each in manifest["regions"]]
    assert starts == sorted(starts)
    held = {
        (at, end)
        for each in manifest["regions"]
        for piece in each.get("pieces", ())
        for at, end in piece["ranges"]
        if at <= one.told["marker"] < end
    }
    lacking = any(
        each["start"] <= one.told["marker"] < each["end"]
        for region in manifest["regions"]
        for each in region.get("unread", ())
    )
    assert bool(held) is not lacking, "what is not in it is said to be missing"
    found = analyze(str(path), AnalysisRequest())
    assert found.verified is True
    assert one.ask() == {"alive": True}


def test_a_dump_by_windows_has_no_limits(child: Callable[..., Child], tmp_path: Path) -> None:
    one = child(HOLDER)
    for options in (["--policy", "private"], ["--compress", "zstd"], ["--max-bytes", "1M"], ["--freeze"]):
        done = typed("dump", str(one.pid), "--output", str(tmp_path / "x.dmp"), "--image", "system", *options)
        assert done.returncode == 2 and b"holds everything" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_name_that_windows_does_not_take(child: Callable[..., Child], tmp_path: Path) -> None:
    """Its error is EINVAL, as that of a pipe that nobody reads."""
    done = typed("dump", str(child(HOLDER).pid), "--output", str(tmp_path / "what?.dmp"))
    assert done.returncode == 2 and b"what?.dmp" in done.stderr
    assert not list(tmp_path.iterdir())
