"""Which memory is in a dump: what nobody may touch, what lies behind files, what is shared or reserved."""

import os
from pathlib import Path

import pytest

from hostscope.dumps.core_file import open_core
from tests.system.dump_target import PAGE, dumped
from tests.system.told_child import told_child

pytestmark = pytest.mark.system


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_reservations_take_no_room(tmp_path: Path, compression: str) -> None:
    """More of them than a file may be long, as run times and sanitizers make."""
    script = (
        "import ctypes, mmap\nlibc = ctypes.CDLL(None)\nlibc.mmap.restype = ctypes.c_void_p\n"
        "told = [libc.mmap(None, ctypes.c_size_t(10 << 40), 0, 0x4022, -1, ctypes.c_long(0)) for _ in range(3)]"
    )
    with told_child(script) as (pid, (address, *_)):
        row, manifest = dumped(pid, tmp_path / "core", compression=compression)
    one = next(one for one in manifest.regions if one.region.start <= address < one.region.end)
    assert one.included and one.file_offset is None and one.unread == () and one.region.permissions == "---p"
    assert one.untouched_bytes == one.region.size_bytes >= 10 << 40
    assert row.complete and os.stat(tmp_path / "core").st_size < 1 << 30
    with open_core(str(tmp_path / "core")) as core:
        assert core.read(address, 8) == b"" and list(core.threads())


def test_memory_without_permissions_is_read(tmp_path: Path) -> None:
    """PROT_NONE hides from process_vm_readv, not from us."""
    script = """
import ctypes, mmap
m = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m[:6] = b"hidden"
address = ctypes.addressof(ctypes.c_char.from_buffer(m))
ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(8192), 0)
told = address
"""
    with told_child(script) as (pid, address):
        dumped(pid, tmp_path / "core")
    with open_core(str(tmp_path / "core")) as core:
        assert core.read(address, 6) == b"hidden"


def test_what_lies_behind_the_end_of_a_file_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * (PAGE + 1))
    script = (
        f"import mmap\nf = open('{tmp_path / 'short'}', 'r+b')\nf.truncate(8 * {PAGE})\n"
        f"m = mmap.mmap(f.fileno(), 8 * {PAGE})\nf.truncate({PAGE} + 1)\ntold = None"
    )
    with told_child(script) as (pid, _):
        row, manifest = dumped(pid, tmp_path / "core")
    (one,) = [one for one in manifest.regions if (one.region.path or "").endswith("/short")]
    assert (one.region.backed_bytes, one.read_bytes, one.untouched_bytes) == (2 * PAGE, 2 * PAGE, 6 * PAGE)
    assert row.complete and one.unread == ()


def test_devices_are_left_out_and_shared_memory_is_not(tmp_path: Path) -> None:
    script = """
import mmap, os
f = os.memfd_create("held"); os.truncate(f, 4096)
held = mmap.mmap(f, 4096); held[:4] = b"held"
anonymous = mmap.mmap(-1, 4096); anonymous[:6] = b"shared"
d = os.open("/dev/zero", os.O_RDWR)
device = mmap.mmap(d, 4096, flags=mmap.MAP_PRIVATE)
ring = None
told = None
"""
    with told_child(script) as (pid, _):
        _, manifest = dumped(pid, tmp_path / "core")
        with open_core(str(tmp_path / "core")) as core:
            by_path = {one.path: core.read(one.start, 6) for one in core.regions if one.path}
    assert by_path["/memfd:held"][:4] == b"held" and by_path["/dev/zero"][:6] in (b"shared", bytes(6))
    assert all(one.skipped for one in manifest.regions if one.region.special)
    assert not [one for one in manifest.regions if one.region.resident_bytes is not None]


def test_the_private_policy_takes_what_was_changed(tmp_path: Path) -> None:
    with told_child("told = None") as (pid, _):
        _, manifest = dumped(pid, tmp_path / "core", policy="private")
    left_out = [one.region for one in manifest.regions if not one.included and one.region.inode]
    changed = [one.region for one in manifest.regions if one.included and one.region.inode]
    assert left_out and all(not one.private_dirty_bytes and "w" not in one.permissions for one in left_out)
    assert any("w" not in one.permissions for one in changed), "relocated and then protected"
