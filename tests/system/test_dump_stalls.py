"""Pages that somebody else has to give, and does not: dump and scan end, and say what is missing."""

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest

from hostscope.collectors.scan import scan
from hostscope.dumps import patience
from hostscope.dumps.patience import PATIENCE_S
from hostscope.dumps.reading import NO_ANSWER
from hostscope.model.gap import Reason
from hostscope.platforms.linux import memory
from tests.system.dump_target import HOST, dumped, until
from tests.system.fuse_server import CONTENT, served
from tests.system.told_child import run_told, told_child

pytestmark = [pytest.mark.system, pytest.mark.root]
SIZE = 1 << 20
REGISTER = f"""
import ctypes, fcntl, mmap, os, struct
libc = ctypes.CDLL(None, use_errno=True)
uffd = libc.syscall({{"x86_64": 323, "aarch64": 282}}[os.uname().machine], 0)  # 0: faults of the kernel, too
told = None
if uffd >= 0:
    fcntl.ioctl(uffd, 0xC018AA3F, bytearray(struct.pack("=QQQ", 0xAA, 0, 0)))  # UFFDIO_API
    fd = os.memfd_create("lazy")
    os.truncate(fd, {SIZE})
    held = [mmap.mmap(fd, {SIZE}), mmap.mmap(-1, {SIZE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)]
    told = [ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in held]
    for start in told:  # UFFDIO_REGISTER, missing pages
        fcntl.ioctl(uffd, 0xC020AA00, bytearray(struct.pack("=QQQQ", start, {SIZE}, 1, 0)))
"""


@pytest.fixture
def lazy() -> Iterator[tuple[int, list[int]]]:
    if run_told(REGISTER) is None:
        pytest.skip("no userfaultfd for faults of the kernel here")
    with told_child(REGISTER) as (pid, starts):
        yield pid, starts


@pytest.mark.parametrize("packed", ["none", "zstd"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_dump_ends_and_lists_what_did_not_answer(
    lazy: tuple[int, list[int]], tmp_path: Path, packed: str, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.5)
    pid, (shared, private) = lazy
    row, manifest = dumped(pid, tmp_path / "core", compression=packed, freeze=frozen)
    by_start = {one.region.start: one for one in manifest.regions}
    (unread,) = by_start[shared].unread
    assert (unread.start, unread.end, unread.detail) == (shared, shared + SIZE, NO_ANSWER)
    assert not row.complete and row.unread_bytes == SIZE
    anonymous = next(one for one in manifest.regions if one.region.start <= private < one.region.end)
    assert anonymous.unread == (), "missing pages of it are not touched"


def test_a_scan_ends_and_says_so(lazy: tuple[int, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.5)
    (tmp_path / "r.yar").write_text("rule never { strings: $a = { 01 23 45 67 89 ab cd ef 01 99 } condition: $a }")
    answer = scan(HOST, [str(lazy[0])], str(tmp_path / "r.yar"))
    answer.rows()
    assert [(gap.field, gap.reason, gap.detail) for gap in answer.coverage.gaps] == [
        ("memory", Reason.UNAVAILABLE, NO_ANSWER)
    ]


@pytest.mark.parametrize("words", [("dump",), ("scan",)])
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_waiting(
    lazy: tuple[int, list[int]], tmp_path: Path, words: tuple[str, ...], blow: signal.Signals
) -> None:
    (tmp_path / "r.yar").write_text("rule never { condition: false }")
    (tmp_path / "out").mkdir()
    more = ["--output", str(tmp_path / "out" / "core")] if words == ("dump",) else ["--rules", str(tmp_path / "r.yar")]
    script = (
        "import sys\nfrom hostscope.dumps import patience\npatience.PATIENCE_S = 600\n"
        "from hostscope.cli.main import main\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, *words, str(lazy[0]), *more]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ours:
        until(lambda: any("handle_userfault" in one for one in waits(ours.pid)))
        ours.send_signal(blow)
        code = ours.wait(60)
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143}[blow]
    assert list((tmp_path / "out").iterdir()) == []


def test_of_a_servers_file_only_what_is_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the test's own file system were a server's; and nothing asks after the file."""
    (tmp_path / "far").write_bytes(b"far!" * 4096)
    script = (
        f"import mmap\nf = open({str(tmp_path / 'far')!r}, 'r+b')\nm = mmap.mmap(f.fileno(), 0)\n"
        "m.madvise(mmap.MADV_RANDOM)\ntold = m[0]\n"
    )
    with told_child(script) as (pid, _):
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        device = next(line.split()[3] for line in maps if line.endswith("/far"))
        monkeypatch.setattr(memory, "parse_remote", lambda raw: {device: "fuse.far"})
        _, manifest = dumped(pid, tmp_path / "core")
    (one,) = [one for one in manifest.regions if (one.region.path or "").endswith("/far")]
    assert one.region.served_by == "fuse.far" and one.region.backed_bytes is None
    assert one.read_bytes >= mmap.PAGESIZE
    assert one.read_bytes + sum(part.end - part.start for part in one.unread) == one.region.size_bytes
    assert all("fuse.far" in str(part.detail) for part in one.unread)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_file_server_that_answers_nothing_holds_nobody_up(tmp_path: Path, frozen: bool) -> None:
    """A real one; asked for a page, for attributes or for a name, it would never come back."""
    (tmp_path / "mount").mkdir()
    (tmp_path / "r.yar").write_text("rule never { condition: false }")
    script = (
        f"import mmap, os\nf = os.open({str(tmp_path / 'mount' / 'far')!r}, os.O_RDONLY)\n"
        f"m = mmap.mmap(f, {len(CONTENT)}, mmap.MAP_PRIVATE, mmap.PROT_READ)\n"
        "m.madvise(mmap.MADV_RANDOM)\ntold = m[0]\n"
    )
    with served(tmp_path / "mount") as server, told_child(script) as (pid, told):
        assert told == CONTENT[0]
        os.kill(server, signal.SIGSTOP)
        rescue = Timer(30, os.kill, (server, signal.SIGKILL))
        rescue.start()
        try:
            began = time.monotonic()
            _, manifest = dumped(pid, tmp_path / "core", freeze=frozen)
            scan(HOST, [str(pid)], str(tmp_path / "r.yar")).rows()
            took = time.monotonic() - began
        finally:
            rescue.cancel()
            os.kill(server, signal.SIGKILL)  # else the child cannot close the file
    (one,) = [one for one in manifest.regions if (one.region.path or "").endswith("/far")]
    assert one.region.served_by == "fuse.far"
    assert mmap.PAGESIZE <= one.read_bytes < len(CONTENT)
    assert one.read_bytes + sum(part.end - part.start for part in one.unread) == one.region.size_bytes
    assert took < PATIENCE_S, "nothing was asked of the server"


def waits(pid: int) -> Iterator[str]:
    """Where in the kernel the threads of a process wait."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        with suppress(FileNotFoundError):  # it has ended
            yield Path(f"/proc/{pid}/task/{tid}/wchan").read_text()
