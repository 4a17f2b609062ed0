"""Dumps of a process of the scripted system: written as a Mach-O core, and read again."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from hostscope.dumps.core_file import open_core
from hostscope.errors import Denied
from hostscope.model.dump import DumpRequest
from hostscope.model.process import Executable, Process
from hostscope.platforms.macos.clock import read_boot
from hostscope.platforms.macos.control import Control
from hostscope.platforms.macos.host import open_host
from hostscope.platforms.macos.process_list import read_key
from hostscope.respond.dump import dump_all
from tests.macos.scripted import RUNTIME, VALID, Darwin
from tests.macos.scripted_mach import CORPSE, KERN_FAILURE, PAGE, Mach

PID, BASE = 4242, 0x1_0000_0000
STATE = (BASE + 8).to_bytes(8, "little") * 34


@pytest.fixture
def mach(darwin: Darwin) -> Mach:
    darwin.add(PID, path=b"/usr/local/bin/target", comm=b"target", csflags=VALID | RUNTIME)
    for name, value in (("kern.hostname", b"mac\0"), ("kern.osrelease", b"23.5.0\0"), ("hw.model", b"Mac14,2\0"),
                        ("kern.osproductversion", b"14.5\0"), ("kern.osversion", b"23F79\0"),
                        ("hw.activecpu", b"\x0a\0\0\0"), ("hw.memsize", bytes(4) + b"\4\0\0\0")):  # fmt: skip
        darwin.value(name, value)
    made = Mach(darwin)
    made.region(PID, BASE, bytes(range(256)) * (2 * PAGE // 256), 5)
    made.region(PID, BASE + 8 * PAGE, b"secret" + bytes(4 * PAGE - 6), 3, pages=b"\1\0\0\0")
    made.region(PID, BASE + 20 * PAGE, PAGE, 0)
    made.thread(PID, 900, STATE)
    return made


def dumped(path: Path, **fields: object) -> object:
    boot = read_boot()
    process = Process(read_key(boot, PID), 1, "target", exe=Executable("/usr/local/bin/target"))
    tasks = [(process, str(path))]
    request = DumpRequest(**fields)  # type: ignore[arg-type]
    (made,) = dump_all(open_host(), Control(boot), tasks, request, nullcontext, False, lambda *told: None)
    return made


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_process_becomes_a_mach_o_core(mach: Mach, tmp_path: Path, compression: str) -> None:
    path = tmp_path / "x.core"
    dumped(path, compression=compression)
    manifest = json.loads((tmp_path / "x.core.json").read_bytes())
    assert (manifest["image"], manifest["consistency"], manifest["registers"]) == ("macho-core", "running", True)
    assert "mach_vm_read_overwrite" in manifest["method"]
    with open_core(str(path)) as core:
        assert core.architecture == "arm64"
        assert core.read(BASE + 3, 5) == bytes([3, 4, 5, 6, 7])
        assert core.read(BASE + 8 * PAGE, 6) == b"secret"
        assert [(thread.tid, thread.instruction) for thread in core.threads()] == [(900, BASE + 8)]
    assert mach.suspended == 0


def test_freezing_reads_a_copy(mach: Mach, tmp_path: Path) -> None:
    dumped(tmp_path / "x.core", freeze=True)
    manifest = json.loads((tmp_path / "x.core.json").read_bytes())
    assert manifest["consistency"] == "snapshot"
    assert mach.suspended == 0


def test_without_copies_threads_are_suspended(darwin: Darwin, mach: Mach, tmp_path: Path) -> None:
    darwin.fail("MACH", KERN_FAILURE, PID, CORPSE)
    dumped(tmp_path / "x.core", freeze=True)
    manifest = json.loads((tmp_path / "x.core.json").read_bytes())
    assert manifest["consistency"] == "frozen"
    assert "no copy" in " ".join(manifest["notes"])
    assert mach.suspended == 0


def test_a_protected_process_leaves_no_file(darwin: Darwin, mach: Mach, tmp_path: Path) -> None:
    darwin.fail("TASK_FOR_PID", KERN_FAILURE, PID)
    with pytest.raises(Denied):
        dumped(tmp_path / "x.core")
    assert list(tmp_path.iterdir()) == []
