"""Mapped devices whose node was deleted: the kernel's flags of the mapping tell, where the file cannot."""

import os
import stat
from pathlib import Path

import pytest

from hostscope.model.request import ProcessRequest
from hostscope.platforms.linux import memory
from tests.system.dump_target import HOST, dumped
from tests.system.told_child import told_child

pytestmark = pytest.mark.system
MAPPED = """
import ctypes, mmap, os
fd = os.open({path!r}, os.O_RDONLY)
m = mmap.mmap(fd, 4096, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED, offset={offset})
os.unlink({path!r})
told = None
"""


@pytest.mark.root
def test_a_deleted_device_is_left_out(tmp_path: Path) -> None:
    path = str(tmp_path / "registers")
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 1))  # physical memory: the BIOS
        os.close(os.open(path, os.O_RDONLY))
    except OSError as failed:
        pytest.skip(f"no /dev/mem here: {failed.strerror}")
    with told_child(MAPPED.format(path=path, offset=0xF0000)) as (pid, _):
        _, manifest = dumped(pid, tmp_path / "core")
    (one,) = [one for one in manifest.regions if one.region.path == path]
    assert one.region.special and one.region.deleted and not one.included and "device" in str(one.skipped)


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("flags", [frozenset({"rd", "io", "pf"}), frozenset({"rd"})])
def test_flags_decide_only_where_the_file_cannot(
    tmp_path: Path, flags: frozenset[str], replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    asked: list[int] = []

    def read_flags(files: memory._Files) -> dict[int, frozenset[str]]:
        asked.append(1)
        return {int(line.split("-")[0], 16): flags for line in maps if str(path) in line}

    monkeypatch.setattr(memory._Files, "_read_flags", read_flags)
    with told_child(MAPPED.format(path=str(path), offset=0)) as (pid, _):
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        if replaced:
            path.write_bytes(bytes(4096))
        key = HOST.processes.read(pid, ProcessRequest()).key
        (one,) = [one for one in HOST.memory.regions(key, False) if one.path == str(path)]
    assert one.special is ("io" in flags) and asked == [1]
