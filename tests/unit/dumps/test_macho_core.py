"""Mach-O cores: what is written is what is read, here and by others."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.collectors.analysis import AnalysisRequest, analyze
from hostscope.dumps.core_file import open_core
from hostscope.dumps.formats import MACHO, has_registers, image_for
from hostscope.dumps.macho_core import parse_macho_core, regions_of
from hostscope.dumps.macho_layout import macho_layout
from hostscope.errors import UsageError
from hostscope.model.memory import Region, ThreadState

PAGE = 16_384
ARM = struct.pack("<33Q", *range(33)) + bytes(8)
INTEL = struct.pack("<21Q", *range(100, 121))
REGIONS = (
    Region(0x1_0000_0000, 0x1_0000_0000 + PAGE, "r-xp", 0, "", 1, "/bin/x"),
    Region(0x1_0000_8000, 0x1_0000_8000 + 2 * PAGE, "rw-p", 0, "", 0, "[heap]"),
    Region(0x7_0000_0000, 0x7_0000_0000 + PAGE, "---p", 0, "", 0, "[guard]"),
)


def written(architecture: str = "arm64", state: bytes = ARM, path: Path | None = None) -> bytes:
    threads = [ThreadState(900, "main", state), ThreadState(901, "ended", b"", unread="it ended")]
    layout = macho_layout(REGIONS, (True, True, False), threads, architecture)
    raw = bytearray(layout.head.ljust(layout.size_bytes, b"\0"))
    for number, (region, offset) in enumerate(zip(REGIONS, layout.offsets, strict=True)):
        if offset is not None:
            raw[offset : offset + region.size_bytes] = bytes([number + 1]) * region.size_bytes
    if path:
        path.write_bytes(raw)
    return bytes(raw)


def at(raw: bytes):  # type: ignore[no-untyped-def]
    return lambda offset, size: raw[offset : offset + size]


@pytest.mark.parametrize(("architecture", "state", "pc", "sp"), [("arm64", ARM, 32, 31), ("x86_64", INTEL, 116, 107)])
def test_what_is_written_is_read(architecture: str, state: bytes, pc: int, sp: int) -> None:
    core = parse_macho_core(at(written(architecture, state)))
    assert core.architecture == architecture
    assert [(one.start, one.held, one.protection) for one in core.segments] == [
        (0x1_0000_0000, PAGE, 5), (0x1_0000_8000, 2 * PAGE, 3), (0x7_0000_0000, 0, 0),
    ]  # fmt: skip
    (thread,) = core.threads
    assert core.pointers(thread) == (pc, sp)
    assert all(one.offset % PAGE == 0 for one in core.segments)


def test_it_is_opened_as_an_address_space(tmp_path: Path) -> None:
    path = tmp_path / "x.core"
    written(path=path)
    with open_core(str(path)) as core:
        assert (core.image, core.architecture) == ("macho-core", "arm64")
        assert [region.permissions for region in core.regions] == ["r-xp", "rw-p", "---p"]
        assert core.read(0x1_0000_8000 + 5, 4) == b"\2\2\2\2"
        assert core.read(0x7_0000_0000, 4) == b""
        assert [(thread.instruction, thread.stack) for thread in core.threads()] == [(32, 31)]
        assert list(core.present(core.held[2])) == []


def test_a_program_is_no_core(tmp_path: Path) -> None:
    path = tmp_path / "program"
    raw = bytearray(written())
    struct.pack_into("<I", raw, 12, 2)
    path.write_bytes(raw)
    with pytest.raises(UsageError, match="not a Mach-O core"), open_core(str(path)):
        pass


def test_macos_dumps_are_mach_o() -> None:
    assert image_for("macos", "core") == MACHO
    assert image_for("macos", "raw") == "raw"
    assert has_registers(ThreadState(1, "", ARM), "arm64", MACHO)
    assert not has_registers(ThreadState(1, "", ARM[:-4]), "arm64", MACHO)
    assert not has_registers(ThreadState(1, "", b""), "x86_64", MACHO)


@given(st.binary(max_size=300), st.integers(0, 700), st.binary(min_size=1, max_size=8))
def test_any_core_is_read_or_refused(raw: bytes, place: int, change: bytes) -> None:
    whole = written()[:2048]
    for tried in (raw, whole[:32] + raw, whole[:place] + change + whole[place + len(change) :], whole[:place]):
        try:
            core = parse_macho_core(at(tried))
        except ValueError:
            continue
        ends = [region.end for region, _ in regions_of(core)]
        assert ends == sorted(ends)
        for thread in core.threads:
            core.pointers(thread)


# Others' readers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("architecture", "state"), [("arm64", ARM), ("x86_64", INTEL)])
def test_lief_reads_it(tmp_path: Path, architecture: str, state: bytes) -> None:
    lief = pytest.importorskip("lief", reason="an independent parser (pip install lief)")
    path = tmp_path / "x.core"
    raw = written(architecture, state, path)
    parsed = lief.MachO.parse(str(path)).at(0)
    assert str(parsed.header.file_type).endswith("CORE")
    assert parsed.header.nb_cmds == 4
    found = [(one.virtual_address, one.virtual_size, one.file_size, one.init_protection) for one in parsed.segments]
    assert found == [
        (0x1_0000_0000, PAGE, PAGE, 5),
        (0x1_0000_8000, 2 * PAGE, 2 * PAGE, 3),
        (0x7_0000_0000, PAGE, 0, 0),
    ]
    assert [bytes(one.content)[:2] for one in parsed.segments][:2] == [b"\1\1", b"\2\2"]
    thread = parsed.thread_command
    assert (thread.flavor, thread.count * 4, bytes(thread.state)) == (
        6 if architecture == "arm64" else 4,
        len(state),
        state,
    )
    assert os.path.getsize(path) == len(raw)


def test_macholib_reads_it(tmp_path: Path) -> None:
    macho = pytest.importorskip("macholib.MachO", reason="an independent parser (pip install macholib)")
    path = tmp_path / "x.core"
    written(path=path)
    (header,) = macho.MachO(str(path)).headers
    commands = [command.cmd for command, _, _ in header.commands]
    assert (header.header.filetype, commands) == (4, [0x19, 0x19, 0x19, 0x4])
    assert [segment.fileoff % PAGE for _, segment, _ in header.commands[:3]] == [0, 0, 0]


def test_analyze_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "x.core"
    written(path=path)
    found = analyze(str(path), AnalysisRequest())
    assert (found.image, found.architecture, len(found.regions)) == ("macho-core", "arm64", 3)
    assert [thread.instruction for thread in found.threads] == [32]
    assert "no manifest" in found.notes[0]
