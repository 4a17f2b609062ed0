"""Notes by their published sizes, and as other people's tools read them, for both architectures."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostscope.binaries.elf import parse_notes
from hostscope.dumps.core_notes import NT_FILE, NT_PRPSINFO, NT_PRSTATUS, CoreProcess, build_notes, has_registers
from hostscope.dumps.layout import core_layout
from hostscope.model.memory import ThreadState
from tests.unit.dumps.spaces import PAGE, region

PROCESS = CoreProcess(
    42, 7, 42, 41, 1000, 1001, "a name that is long", "sleeping", 5, ("prog", "x" * 200), "x86_64", b""
)
REGIONS = (region(16, 4, "r-xp", "/bin/prog", 7), region(32, 8), region(64, 2, "r--p", "/bin/gone", 8, deleted=True))


@pytest.mark.parametrize(("architecture", "registers", "size"), [("x86_64", 216, 336), ("aarch64", 272, 392)])
def test_sizes_are_the_kernels(architecture: str, registers: int, size: int) -> None:
    thread = ThreadState(43, "worker", bytes(registers), bytes(512), blocked_signals=1 << 4)
    main = replace(thread, tid=42, signal=11, signal_info=b"\x0b" + bytes(127))
    raw = build_notes(replace(PROCESS, architecture=architecture), (thread, main), REGIONS)
    notes = list(parse_notes(raw))
    sizes = {note.type: len(note.data) for note in notes}
    assert (sizes[NT_PRSTATUS], sizes[NT_PRPSINFO]) == (size, 136)
    statuses = [note.data for note in notes if note.type == NT_PRSTATUS]
    assert [struct.unpack_from("<i", data, 32)[0] for data in statuses] == [42, 43]
    assert [struct.unpack_from("<h", data, 12)[0] for data in statuses] == [11, 0]
    files = next(note.data for note in notes if note.type == NT_FILE)
    assert struct.unpack_from("<QQ", files) == (2, PAGE) and files.endswith(b"/bin/prog\0/bin/gone (deleted)\0")


def test_a_thread_of_another_size_has_no_place() -> None:
    compat = ThreadState(42, "old", bytes(68))
    assert not has_registers(compat, "x86_64") and not has_registers(ThreadState(1, "", b""), "aarch64")
    types = [note.type for note in parse_notes(build_notes(PROCESS, (compat,), REGIONS))]
    assert NT_PRSTATUS not in types and NT_PRPSINFO in types


@pytest.mark.parametrize(("architecture", "registers"), [("x86_64", 216), ("aarch64", 272)])
def test_readelf_agrees(tmp_path: Path, architecture: str, registers: int) -> None:
    readelf = shutil.which("eu-readelf")
    if readelf is None:
        pytest.skip("eu-readelf is missing (elfutils)")
    thread = ThreadState(42, "main", bytes(registers), bytes(528 if architecture == "aarch64" else 512))
    notes = build_notes(replace(PROCESS, architecture=architecture), (thread,), REGIONS)
    layout = core_layout(REGIONS, [False] * 3, notes, architecture)
    (tmp_path / "core").write_bytes(layout.head.ljust(layout.size_bytes, b"\0"))
    command = [readelf, "-h", "-l", "-n", str(tmp_path / "core")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"x86_64": "x86-64", "aarch64": "aarch64"}[architecture] in done.stdout.lower()
    assert "pid: 42, ppid: 7, pgrp: 42, sid: 41" in done.stdout and "uid: 1000, gid: 1001" in done.stdout
    assert "fname: a name that is" in done.stdout and done.stdout.count("LOAD ") == 3
