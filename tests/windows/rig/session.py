"""Runs the rig's Python.

Traps that shape this, each seen: standard handles that are regular files end CPython at its start; Wine's own services
inherit the handles of whoever starts them, so a reader of that pipe would wait for them; without a live session each
start takes 2.5 s instead of 0.06.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.windows.rig.places import REPOSITORY, Rig, seen_inside

HOLD = "import ctypes, sys; ctypes.windll.user32.GetDesktopWindow(); print('held', flush=True); sys.stdin.read()"
"""Whoever first asks for a window starts explorer.exe, which keeps the pipes of who started it: so this one asks."""
TIMED_OUT = 124


def environment(rig: Rig) -> dict[str, str]:
    """What Wine and the Python in it need to know."""
    path = [seen_inside(REPOSITORY / "src"), seen_inside(REPOSITORY)]
    ours = {
        "WINEPREFIX": str(rig.prefix),
        "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"),
        "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=",
        "PYTHONPATH": ";".join(path),
        "PYTHONIOENCODING": "utf-8",  # of what reaches our terminal; tests of the command's own encoding take it away
        # Both Pythons are 3.11: byte code of one must not be taken for the other's.
        "PYTHONPYCACHEPREFIX": seen_inside(rig.root / "bytecode"),
    }
    theirs = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "PYTHONPYCACHEPREFIX")}
    # Trails and caches of the tests are theirs; a path of this system would mean nothing there.
    return {name: value for name, value in theirs.items() if name != "HOSTSCOPE_AUDIT"} | ours


@contextmanager
def held(rig: Rig) -> Iterator[None]:
    """A session that is alive until the block ends: its services are not started by, and end not with, a run."""
    holder = subprocess.Popen(
        ["wine", str(rig.executable), "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(rig),
    )
    assert holder.stdin and holder.stdout
    try:
        if not holder.stdout.readline():
            raise RuntimeError(f"wine does not run {rig.executable} (WINEDEBUG= shows why)")
        yield
    finally:
        holder.stdin.close()
        holder.wait(120)
        holder.stdout.close()


def run(rig: Rig, arguments: Sequence[str], limit_s: float | None = None) -> int:
    """Runs Python with `arguments`, printing what it prints; its exit code, or 124 when it was ended at the limit."""
    with held(rig), _started(rig, arguments) as process:
        alarm = threading.Timer(limit_s, process.kill) if limit_s else None
        if alarm:
            alarm.start()
        assert process.stdout
        for line in process.stdout:
            sys.stdout.buffer.write(line.replace(b"\r\n", b"\n"))
            sys.stdout.flush()
        code = process.wait()
        if alarm:
            alarm.cancel()
        return TIMED_OUT if alarm and code < 0 else code


@contextmanager
def _started(rig: Rig, arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        ["wine", str(rig.executable), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(rig),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
