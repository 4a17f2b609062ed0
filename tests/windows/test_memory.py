"""Address spaces through the real calls, of children that know what lies where."""

import os
import sys
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from hostscope.dumps.selection import obstacle
from hostscope.errors import Gone, Mismatch
from hostscope.model.memory import Region
from hostscope.platforms.windows.memory import Memory
from tests.windows.children import Child
from tests.windows.keys import key_of
from tests.windows.missing import skip_missing

HOLDER = """
import ctypes, mmap, tempfile
kernel32 = ctypes.WinDLL("kernel32")
kernel32.VirtualAlloc.restype = ctypes.c_void_p
kernel32.VirtualAlloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_uint]
kernel32.VirtualProtect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_void_p]
kernel32.VirtualFree.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]
old = ctypes.c_uint()
def alloc(size, kind=0x3000, protection=4):
    return kernel32.VirtualAlloc(None, size, kind, protection)
marker = ctypes.create_string_buffer(b"HOSTSCOPE-MARKER-" + bytes(range(100)))
guarded = alloc(0x3000)
ctypes.memset(guarded, 0x47, 0x3000)
kernel32.VirtualProtect(guarded + 0x1000, 0x1000, 0x104, ctypes.byref(old))
hole = alloc(0x4000)
ctypes.memset(hole, 0x48, 0x4000)
kernel32.VirtualFree(hole + 0x2000, 0x1000, 0x4000)
barred = alloc(0x1000)
kernel32.VirtualProtect(barred, 0x1000, 1, ctypes.byref(old))
reserved = alloc(0x10000, 0x2000, 1)
code = alloc(0x1000, 0x3000, 0x40)
file = tempfile.TemporaryFile()
file.write(b"F" * 0x2000); file.flush()
mapped = mmap.mmap(file.fileno(), 0x2000)
mapped_at = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
say(marker=ctypes.addressof(marker), guarded=guarded, hole=hole, barred=barred, reserved=reserved, code=code,
    mapped=mapped_at, file=file.name)
wait()
"""


@pytest.fixture
def memory() -> Memory:
    return Memory()


def at(regions: tuple[Region, ...], address: int) -> Region:
    return next(region for region in regions if region.start <= address < region.end)


def test_regions_are_what_the_child_made(child: Callable[..., Child], memory: Memory) -> None:
    one = child(HOLDER)
    told = one.told
    regions = memory.regions(key_of(one.pid), False)
    assert [region.start for region in regions] == sorted(region.start for region in regions)
    guarded = at(regions, told["guarded"] + 0x1000)
    assert guarded.guard and guarded.size_bytes == 0x1000 and guarded.kind == "private"
    assert not at(regions, told["guarded"]).guard
    assert at(regions, told["guarded"]).permissions == "rw-p"
    assert at(regions, told["hole"] + 0x2000).state == "reserved"
    assert at(regions, told["reserved"]).state == "reserved"
    assert at(regions, told["barred"]).permissions == "---p"
    assert at(regions, told["code"]).permissions == "rwxp"
    mapped = at(regions, told["mapped"])
    assert (mapped.kind, mapped.permissions) == ("mapped", "rw-s")
    assert mapped.path is not None and os.path.basename(mapped.path).lower() == os.path.basename(told["file"]).lower()
    images = {os.path.basename(region.path or "").lower() for region in regions if region.kind == "image"}
    assert {"ntdll.dll", "python.exe", "python311.dll"} & images == {"ntdll.dll", "python.exe", "python311.dll"}


def test_what_stays_out_of_dumps_says_why(child: Callable[..., Child], memory: Memory) -> None:
    told = (one := child(HOLDER)).told
    regions = memory.regions(key_of(one.pid), False)
    assert "guard" in (obstacle(at(regions, told["guarded"] + 0x1000)) or "")
    assert "reserved" in (obstacle(at(regions, told["reserved"])) or "")
    assert "no access" in (obstacle(at(regions, told["barred"])) or "")
    assert obstacle(at(regions, told["marker"])) is None


def test_bytes_are_read_as_the_child_has_them(child: Callable[..., Child], memory: Memory) -> None:
    told = (one := child(HOLDER)).told
    with memory.open(key_of(one.pid)) as space:
        assert space.read_bytes(told["marker"], 117) == b"HOSTSCOPE-MARKER-" + bytes(range(100))
        assert space.read_bytes(told["hole"] + 0x3000, 0x1000) == b"H" * 0x1000
        assert space.read_bytes(0x10, 16) == b""
        space.check()


def test_a_read_ends_before_the_first_page_that_cannot_be_read(child: Callable[..., Child], memory: Memory) -> None:
    """At the end of a region with nothing behind it."""
    key = key_of(child(HOLDER).pid)
    regions = memory.regions(key, False)
    starts = {region.start for region in regions}
    last = next(region for region in regions if "r" in region.permissions and region.end not in starts)
    with memory.open(key) as space:
        whole = space.read_bytes(last.start, last.size_bytes)
        assert len(whole) == last.size_bytes
        beyond = space.read_bytes(last.start, last.size_bytes + 0x9000)
        if len(beyond) > len(whole):
            skip_missing("ReadProcessMemory", "gives zeros where nothing is mapped")
        assert beyond == whole
        into = bytearray(0x9000)
        assert space.read(last.end - 0x123, memoryview(into)) == 0x123
        assert bytes(into[:0x123]) == whole[-0x123:]


def test_a_child_that_ends_while_it_is_read(child: Callable[..., Child], memory: Memory) -> None:
    told = (one := child(HOLDER)).told
    with memory.open(key_of(one.pid)) as space:
        assert space.read_bytes(told["marker"], 4) == b"HOST"
        one.end()
        with pytest.raises(Gone):
            space.read_bytes(told["marker"], 4)


def test_keys_of_others_are_refused(child: Callable[..., Child], memory: Memory) -> None:
    key = key_of((one := child(HOLDER)).pid)
    with pytest.raises(Mismatch):
        memory.regions(replace(key, start=key.start + 1), False)
    with pytest.raises(Mismatch):
        memory.regions(replace(key, boot_id="another"), False)
    one.end()
    with pytest.raises(Gone):
        memory.regions(key, False)


def test_the_executable_is_the_file_that_runs(child: Callable[..., Child], memory: Memory) -> None:
    one = child(HOLDER)
    with memory.executable(key_of(one.pid)) as file, open(sys.executable, "rb") as expected:
        assert file.read() == expected.read()


def test_details_count_pages_of_our_own(memory: Memory) -> None:
    regions = memory.regions(key_of(os.getpid()), True)
    if all(region.resident_bytes is None for region in regions):
        skip_missing("QueryWorkingSetEx", "answers to the handle -1 only")
    resident = sum(region.resident_bytes or 0 for region in regions)
    assert resident > 1 << 20
    assert all((region.private_dirty_bytes or 0) <= (region.resident_bytes or 0) for region in regions)
