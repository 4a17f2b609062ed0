"""What is shown to whoever waits: on a terminal only, and nothing is left of it."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="needs pseudo-terminals", exc_type=ImportError)

WAITING = """
import os, sys, threading
from hostscope import platforms
from hostscope.cli import main, progress
from tests.fake import host, process
from hostscope.model.host import ProcessView

progress.PATIENCE_S = 0.0
box = host(process(1, "init", 0), looks=[[ProcessView(name, frozenset({1})) for name in ("listing", "probe")]])
views = box.processes.views

def waiting():
    if "wait" in sys.argv:
        os.read(0, 1)
    print("threads", threading.active_count(), *(name for name in sys.modules if name == "rich"), flush=True)
    return views()

box.processes.views = waiting
platforms.open_host = lambda replay=None: box
sys.exit(main.run(sys.argv[2:]))
"""
ROOT = Path(__file__).parents[3]
DEADLINE_S = 60


def start(
    *arguments: str, stderr: int, stdout: int = subprocess.PIPE, term: str = "xterm"
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WAITING, *arguments]
    given = {**os.environ, "TERM": term, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, env=given, cwd=ROOT, bufsize=0
    )


def read_until(terminal: int, wanted: bytes) -> bytes:
    text, end = b"", time.monotonic() + DEADLINE_S
    while wanted not in text:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, text
        text += os.read(terminal, 65536)
    return text


def test_it_is_shown_while_the_work_lasts_and_gone_before_the_answer() -> None:
    terminal, slave = pty.openpty()
    with start("wait", "hidden", stdout=slave, stderr=slave) as started:
        os.close(slave)
        assert started.stdin is not None
        shown = read_until(terminal, b"looking for hidden processes")
        started.stdin.write(b"x")
        text = shown + read_until(terminal, b"views listing, probe")
        assert started.wait(DEADLINE_S) == 0
    os.close(terminal)
    waited, _, answer = text.rpartition(b"\x1b[?25h")
    assert b"\x1b[?25l" in shown, "the cursor is hidden"
    assert b"views listing" not in waited
    assert b"\x1b[2K" in answer.partition(b"views")[0] or b"\x1b[2K" in waited, "the line is erased"
    assert b"looking for" not in answer


@pytest.mark.parametrize(
    ("arguments", "term"), [(("hidden", "--quiet"), "xterm"), (("hidden", "-v"), "xterm"), (("hidden",), "dumb")]
)
def test_nothing_is_shown_to_who_does_not_want_it(arguments: tuple[str, ...], term: str) -> None:
    terminal, slave = pty.openpty()
    with start("go", *arguments, stderr=slave, term=term) as started:
        os.close(slave)
        assert started.stdout is not None
        assert started.stdout.readline().split()[:2] == [b"threads", b"1"]
        started.stdout.read()
        assert started.wait(DEADLINE_S) == 0
    os.close(terminal)


def test_nothing_is_shown_in_a_pipe() -> None:
    with start("go", "hidden", stderr=subprocess.PIPE) as started:
        out, err = started.communicate(timeout=DEADLINE_S)
    assert out.startswith(b"threads 1\n")
    assert err == b""
