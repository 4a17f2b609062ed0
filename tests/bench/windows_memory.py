"""Dumps on Windows beside a plain loop of ReadProcessMemory: scripts/wine-python -m tests.bench.windows_memory."""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

from hostscope.model.dump import DumpRequest
from hostscope.model.memory import Region
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms.windows.control import Control
from hostscope.platforms.windows.host import open_host
from hostscope.respond.dump import FIELDS, dump_all
from tests.bench.measure import show

HELD_BYTES = 128 << 20
ROUNDS = 5
HOLDER = f"import sys; held = b'x' * {HELD_BYTES}; print(1, flush=True); sys.stdin.read()"
BUFFER_BYTES = 1 << 20


def main() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        try:
            _measure(holder.pid)
        finally:
            holder.kill()


def _measure(pid: int) -> None:
    host = open_host()
    process = host.processes.read(pid, ProcessRequest(fields=FIELDS))
    regions = [one for one in host.memory.regions(process.key, False) if one.state == "committed" and not one.guard]
    regions = [one for one in regions if "r" in one.permissions]
    size = sum(one.size_bytes for one in regions)
    with tempfile.TemporaryDirectory() as folder:
        plain, ours, hashed = [], [], []
        for turn in range(ROUNDS):  # in turns, so that whatever else runs slows all of them down
            plain.append(_took(lambda turn=turn: _loop(pid, regions, os.path.join(folder, f"p{turn}"))))
            ours.append(
                _took(lambda turn=turn: _dump(process, DumpRequest(hash="none", registers=False), folder, turn))
            )
            hashed.append(_took(lambda turn=turn: _dump(process, DumpRequest(), folder, turn + 100)))
    ratio = median(ours) / median(plain)
    show("Windows: dump without digests", f"{size / median(ours) / 1e6:,.0f} MB/s", "", True)
    show("Windows: dump, SHA-256 and registers", f"{size / median(hashed) / 1e6:,.0f} MB/s", "", True)
    show("Windows: beside a plain loop into a file", f"{ratio:.2f} x its time", "<= 1.3 x", ratio <= 1.3)


def _took(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _loop(pid: int, regions: list[Region], path: str) -> None:
    """What anybody would write: one buffer, one call after the other."""
    kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined, unused-ignore]
    kernel32.OpenProcess.restype = ctypes.c_void_p
    kernel32.ReadProcessMemory.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_size_t, ctypes.c_void_p]
    handle, buffer, count = kernel32.OpenProcess(0x410, False, pid), (ctypes.c_char * BUFFER_BYTES)(), ctypes.c_size_t()
    with open(path, "wb") as file:
        for region in regions:
            for at in range(region.start, region.end, BUFFER_BYTES):
                size = min(BUFFER_BYTES, region.end - at)
                kernel32.ReadProcessMemory(handle, at, buffer, size, ctypes.byref(count))
                file.write(memoryview(buffer)[: count.value])
    kernel32.CloseHandle(ctypes.c_void_p(handle))


def _dump(process: Process, request: DumpRequest, folder: str, turn: int) -> None:
    path = os.path.join(folder, f"{turn}.dmp")
    tasks = [(process, path)]
    (row,) = dump_all(open_host(), Control(), tasks, request, nullcontext, False, lambda *_: None)
    assert row.complete, row.outcome


if __name__ == "__main__":
    main()
