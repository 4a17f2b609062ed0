"""Minidumps: what we write is what the `minidump` package and we read; and any bytes are read or refused."""

import struct
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.collectors.analysis import AnalysisRequest, analyze
from hostscope.dumps import minidump_form as form
from hostscope.dumps.formats import image_for, loaded_modules
from hostscope.dumps.layout import PAGE_BYTES
from hostscope.dumps.loaded_image import parse_image
from hostscope.dumps.minidump import describe, parse_minidump, permissions
from hostscope.dumps.minidump_layout import DumpedModule, DumpedProcess, minidump_layout, protection, windows_version
from hostscope.errors import UsageError
from hostscope.model.memory import Region, ThreadState

BASE = 0x7FF6_0000_0000
STACK = 0x10_0000
PROCESS = DumpedProcess(4711, 1_700_000_000, "AMD64", (10, 0, 19045), 4, 1_700_000_100, "hostscope test")


def region(start: int, pages: int, allowed: str = "rw-p", kind: str = "private", **more: object) -> Region:
    facts: dict[str, object] = {"state": "committed", "allocation": start, "initial": allowed} | more
    path = facts.pop("path", None)
    return Region(start, start + pages * PAGE_BYTES, allowed, 0, "", 0, path, kind=kind, **facts)  # type: ignore[arg-type]


REGIONS = (
    region(STACK, 4),
    region(STACK + 0x10000, 1, "---p", state="reserved", initial="rw-p"),
    region(STACK + 0x20000, 1, guard=True),
    region(BASE, 2, "r-xp", "image", path="C:\\x\\app.exe"),
    region(BASE + 0x10000, 1, "rw-p", "image", path="C:\\x\\app.exe", flags=("writecopy",)),
)
INCLUDED = (True, False, False, True, True)


def context(instruction: int, stack: int) -> bytes:
    raw = bytearray(form.CONTEXT_BYTES["x86_64"])
    struct.pack_into("<Q", raw, 0xF8, instruction)
    struct.pack_into("<Q", raw, 0x98, stack)
    return bytes(raw)


THREAD = ThreadState(
    77, "", context(BASE + 0x1234, STACK + 0x3000), block=0x9000, start_address=BASE + 0x1000, priority=8
)


def written(path: Path, threads: tuple[ThreadState, ...] = (THREAD,)) -> bytes:
    modules = (DumpedModule(BASE, 0x11000, "C:\\x\\app.exe"),)
    layout = minidump_layout(REGIONS, INCLUDED, threads, modules, PROCESS)
    raw = bytearray(layout.head.ljust(layout.size_bytes, b"\0"))
    for number, (one, offset) in enumerate(zip(REGIONS, layout.offsets, strict=True)):
        if offset is not None:
            raw[offset : offset + one.size_bytes] = bytes([65 + number]) * one.size_bytes
    path.write_bytes(raw)
    return bytes(raw)


def reader(raw: bytes):  # type: ignore[no-untyped-def]
    return lambda offset, size: raw[offset : offset + size] if offset >= 0 else b""


def test_the_minidump_package_reads_it(tmp_path: Path) -> None:
    minidump = pytest.importorskip("minidump.minidumpfile")
    written(tmp_path / "a.dmp")
    found = minidump.MinidumpFile.parse(str(tmp_path / "a.dmp"))
    try:
        assert found.sysinfo.ProcessorArchitecture.name == "AMD64"
        assert (found.sysinfo.MajorVersion, found.sysinfo.BuildNumber) == (10, 19045)
        assert (found.misc_info.ProcessId, found.misc_info.ProcessCreateTime) == (4711, 1_700_000_000)
        (module,) = found.modules.modules
        assert (module.baseaddress, module.size, module.name) == (BASE, 0x11000, "C:\\x\\app.exe")
        (thread,) = found.threads.threads
        assert (thread.ThreadId, thread.Teb, thread.ContextObject.Rip) == (77, 0x9000, BASE + 0x1234)
        assert thread.Stack.StartOfMemoryRange == STACK + 0x3000
        segments = [(one.start_virtual_address, one.size) for one in found.memory_segments_64.memory_segments]
        assert segments == [(STACK, 0x4000), (BASE, 0x2000), (BASE + 0x10000, 0x1000)]
        infos = {one.BaseAddress: one for one in found.memory_info.infos}
        assert infos[STACK + 0x10000].State.name == "MEM_RESERVE"
        assert infos[BASE].Protect.name == "PAGE_EXECUTE_READ" and infos[BASE].Type.name == "MEM_IMAGE"
        buffered = found.get_reader().get_buffered_reader()
        buffered.move(BASE + 0x10)
        assert buffered.read(4) == b"DDDD"
    finally:
        found.file_handle.close()


def test_we_read_it_back(tmp_path: Path) -> None:
    found = parse_minidump(reader(written(tmp_path / "a.dmp")))
    assert (found.architecture, found.pid, found.exception) == ("x86_64", 4711, None)
    assert [(one.start, one.end) for one in found.ranges] == [
        (one.start, one.end) for one, held in zip(REGIONS, INCLUDED, strict=True) if held
    ]
    assert [one.permissions for one in found.regions] == ["rw-p", "---p", "rw-p", "r-xp", "rw-p"]
    assert [one.guard for one in found.regions] == [False, False, True, False, False]
    assert [one.state for one in found.regions].count("reserved") == 1
    held = {one.start: place is not None for one, place in describe(found)}
    assert held == {one.start: wanted for one, wanted in zip(REGIONS, INCLUDED, strict=True)}


def test_it_is_analysed_without_a_manifest(tmp_path: Path) -> None:
    written(tmp_path / "a.dmp")
    found = analyze(str(tmp_path / "a.dmp"), AnalysisRequest())
    assert (found.image, found.architecture, found.pid, found.name) == ("minidump", "x86_64", 4711, "app.exe")
    (thread,) = found.threads
    assert (thread.instruction, thread.stack, thread.module) == (BASE + 0x1234, STACK + 0x3000, "C:\\x\\app.exe")
    assert [one.present_bytes for one in found.regions] == [0x4000, 0, 0, 0x2000, 0x1000]


def test_without_registers_there_is_no_list_of_threads(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.dmp", (ThreadState(77, "", b"", unread="no"),))
    assert parse_minidump(reader(raw)).threads == ()


def test_the_head_does_not_depend_on_where_memory_begins(tmp_path: Path) -> None:
    layout = minidump_layout(REGIONS, INCLUDED, (THREAD,), (), PROCESS)
    offsets = [offset for offset in layout.offsets if offset is not None]
    assert offsets[0] % PAGE_BYTES == 0 and offsets[0] >= len(layout.head)
    assert offsets == [offsets[0], offsets[0] + 0x4000, offsets[0] + 0x6000]
    assert layout.size_bytes == offsets[0] + 0x7000


@pytest.mark.parametrize("bits", [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80])
def test_protections_there_and_back(bits: int) -> None:
    letters = permissions(bits, False)
    assert protection(letters, ("writecopy",) if bits in (0x08, 0x80) else ()) == bits


def test_protection_with_modifiers() -> None:
    assert protection("rw-p", ("nocache",), True) == 0x04 | 0x200 | 0x100


def test_versions_of_windows() -> None:
    assert windows_version("10.0.22631") == (10, 0, 22631)
    assert windows_version("10.x") == (10, 0, 0)
    assert windows_version("") == (0, 0, 0)


def test_the_form_follows_the_system() -> None:
    assert [image_for(system, "core") for system in ("linux", "windows")] == ["core", "minidump"]
    assert image_for("windows", "raw") == "raw"


def pe(codeview: bytes = b"RSDS" + bytes(range(16)) + b"\x01\0\0\0app.pdb\0") -> bytes:
    """A PE32+ image as it lies in memory."""
    raw = bytearray(0x1000)
    raw[:2] = b"MZ"
    struct.pack_into("<I", raw, 0x3C, 0x80)
    struct.pack_into("<4sHHIIIHH", raw, 0x80, b"PE\0\0", 0x8664, 1, 0x6543_2100, 0, 0, 240, 0x22)
    optional = 0x98
    struct.pack_into("<H", raw, optional, 0x20B)
    struct.pack_into("<I", raw, optional + 56, 0x5000)
    struct.pack_into("<I", raw, optional + 64, 0x1234)
    struct.pack_into("<II", raw, optional + 112 + 48, 0x800, 28)
    struct.pack_into("<IIHHIIII", raw, 0x800, 0, 0, 0, 0, 2, len(codeview), 0x900, 0)
    raw[0x900 : 0x900 + len(codeview)] = codeview
    return bytes(raw)


def test_images_say_where_their_symbols_are() -> None:
    raw = pe()
    found = parse_image(lambda address, size: raw[address - BASE : address - BASE + size], BASE)
    assert found is not None
    assert (found.size_bytes, found.checksum, found.stamp) == (0x5000, 0x1234, 0x6543_2100)
    assert found.build_id == "0302010005040706" + bytes(range(8, 16)).hex().upper() + "1"
    modules = list(loaded_modules(REGIONS, "C:\\x\\app.exe", lambda address, size: b""))
    assert [(module.base, module.path) for module in modules] == [
        (BASE, "C:\\x\\app.exe"),
        (BASE + 0x10000, "C:\\x\\app.exe"),
    ]


@given(st.binary(max_size=600), st.binary(min_size=4, max_size=4))
def test_any_image_is_one_or_not(tail: bytes, at: bytes) -> None:
    raw = b"MZ" + bytes(58) + at + tail
    found = parse_image(lambda address, size: raw[address : address + size], 0)
    assert found is None or len(found.codeview) <= 1024


STREAM = st.tuples(st.sampled_from([3, 4, 5, 6, 7, 9, 15, 16, 17]), st.binary(max_size=300))


@given(st.lists(STREAM, max_size=8), st.binary(max_size=1000))
def test_any_streams_are_read_or_refused(streams: list[tuple[int, bytes]], rest: bytes) -> None:
    raw = bytearray(form.HEADER.pack(form.SIGNATURE, form.VERSION, len(streams), form.HEADER.size, 0, 0, 0))
    at = form.HEADER.size + form.DIRECTORY.size * len(streams)
    for kind, content in streams:
        raw += form.DIRECTORY.pack(kind, len(content), at)
        at += len(content)
    raw += b"".join(content for _, content in streams) + rest
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.dmp")
        path.write_bytes(raw)
        try:
            found = analyze(str(path), AnalysisRequest())
        except UsageError:
            return
    assert all(one.start < one.end for one in found.regions)
    msgspec.json.encode(found)


@given(st.integers(0, 1 << 12), st.binary(min_size=1, max_size=8))
def test_a_damaged_dump_is_read_or_refused(at: int, damage: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.dmp")
        raw = bytearray(written(path))
        at %= len(raw)
        raw[at : at + len(damage)] = damage
        path.write_bytes(raw)
        try:
            found = analyze(str(path), AnalysisRequest(text=False))
        except UsageError:
            return
    assert len(found.regions) <= len(REGIONS) * 8
    msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        (form.THREAD_LIST, form.THREAD.pack(1, 0, 0, 0, 0, 0, 0, 0, 1 << 14, 0)),
        (form.MODULE_LIST, form.MODULE.pack(0, 1, 0, 0, 64, *[0] * 13, 1 << 16, 64, 0, 0, 0, 0)),
    ],
)
def test_a_small_file_does_not_become_gigabytes(kind: int, entry: bytes) -> None:
    """Each entry of a list points to the same bytes: what is kept of a file stays of its order."""
    count = 100_000
    content = form.COUNT.pack(count) + entry * count
    raw = form.HEADER.pack(form.SIGNATURE, form.VERSION, 1, form.HEADER.size, 0, 0, 0)
    raw += form.DIRECTORY.pack(kind, len(content), form.HEADER.size + form.DIRECTORY.size) + content
    taken = 0

    def read(at: int, size: int) -> bytes:
        nonlocal taken
        found = raw[at : at + size]
        taken += len(found)
        return found

    with pytest.raises(ValueError, match="more than"):
        parse_minidump(read)
    assert taken < 600 << 20


@given(st.binary(max_size=200))
def test_what_is_no_minidump_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        parse_minidump(reader(b"MDMP" + raw[:20]))
