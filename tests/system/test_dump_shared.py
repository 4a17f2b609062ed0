"""Shared memory: what others put into it is preserved, and looking at it takes no memory."""

import json
import os
from pathlib import Path

import pytest

from hostscope.collectors.scan import scan
from hostscope.dumps.core_file import open_core
from tests.system.dump_target import HOST, PAGE, dumped
from tests.system.told_child import told_child

pytestmark = pytest.mark.system
SIZE = 24 << 20
PLACE = 20 << 20
WORD = "WrittEn-and-never-mapped"
WRITTEN = f"""
import ctypes, mmap, os
f = os.memfd_create("payload"); os.truncate(f, {SIZE})
os.pwrite(f, bytes.fromhex("{WORD.encode().hex()}"), {PLACE})
m = mmap.mmap(f, {SIZE}, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
m[0] = 1
os.close(f)
told = ctypes.addressof(ctypes.c_char.from_buffer(m))
"""


@pytest.mark.root
def test_what_was_written_and_never_mapped_is_there(tmp_path: Path) -> None:
    (tmp_path / "r.yar").write_text("rule it { strings: $a = { %s } condition: $a }" % WORD.encode().hex())  # noqa: UP031
    with told_child(WRITTEN) as (pid, address):
        row, manifest = dumped(pid, tmp_path / "core")
        found = scan(HOST, [str(pid)], str(tmp_path / "r.yar"), executable=False).rows()
    (one,) = [one for one in manifest.regions if one.region.start == address]
    assert row.complete and one.unread == ()
    assert (one.read_bytes, one.untouched_bytes) == (2 * PAGE, SIZE - 2 * PAGE)
    with open_core(str(tmp_path / "core")) as core:
        assert core.read(address + PLACE, len(WORD)) == WORD.encode()
    assert [match.address for match in found if match.path == "/memfd:payload"] == [address + PLACE]


@pytest.mark.root
def test_a_sparse_file_in_memory_stays_sparse(tmp_path: Path) -> None:
    script = f"""
import ctypes, mmap, subprocess
subprocess.run(["mount", "-t", "tmpfs", "none", {str(tmp_path)!r}], check=True)
f = open({str(tmp_path / "sparse")!r}, "w+b"); f.truncate({SIZE})
m = mmap.mmap(f.fileno(), {SIZE}); m[:4] = b"held"
told = ctypes.addressof(ctypes.c_char.from_buffer(m))
"""
    (tmp_path / "r.yar").write_text("rule never { condition: false }")
    with told_child(script, prefix=["unshare", "-m"]) as (pid, address):
        path = f"/proc/{pid}/root{tmp_path}/sparse"
        before = os.stat(path).st_blocks
        assert before * 512 == PAGE
        _, manifest = dumped(pid, tmp_path / "core")
        scan(HOST, [str(pid)], str(tmp_path / "r.yar"), executable=False).rows()
        assert os.stat(path).st_blocks == before
    (one,) = [one for one in manifest.regions if one.region.start == address]
    assert (one.read_bytes, one.untouched_bytes, one.unread) == (PAGE, SIZE - PAGE, ())


@pytest.mark.root
def test_what_may_not_be_looked_at_is_unread_and_not_untouched() -> None:
    """The same user's, without the capability to look at the file behind a mapping."""
    script = (
        WRITTEN
        + """
import json, tempfile
from hostscope.model.dump import DumpRequest
from hostscope.platforms import open_host
from hostscope.respond.preserve import dump
child = os.fork()
if not child:
    import signal
    signal.pause()
folder = tempfile.mkdtemp()
(row,) = dump(open_host(), [str(child)], DumpRequest(), folder + "/core").rows()
manifest = json.load(open(row.manifest))
os.kill(child, 9); os.waitpid(child, 0)
for name in os.listdir(folder): os.unlink(os.path.join(folder, name))
os.rmdir(folder)
told = [row.complete, next(one for one in manifest["regions"] if one["region"]["start"] == told)]
"""
    )
    with told_child(script, drop=True, before="import ctypes, mmap\n") as (_, (complete, one)):
        assert not complete
    unread = sum(part["end"] - part["start"] for part in one["unread"])
    assert unread + one["read_bytes"] == SIZE and one["untouched_bytes"] == 0, json.dumps(one)
    assert all("tmpfs was not asked" in part["detail"] for part in one["unread"])
