"""The command on a terminal: colour, lines that fit, redrawing, and what is left of it."""

import os
import select
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.cli.test_process import COMMAND, DEADLINE_S

pty = pytest.importorskip("pty", reason="needs pseudo-terminals", exc_type=ImportError)
fcntl = pytest.importorskip("fcntl", reason="needs pseudo-terminals")
termios = pytest.importorskip("termios", reason="needs pseudo-terminals")


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    return kept | {"TERM": "xterm"} | changes


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str, size: tuple[int, int] = (10, 60), **changes: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=slave, stderr=subprocess.PIPE, env=environment(**changes)
        )
        os.close(slave)
        self.text = b""

    def read_until(self, wanted: bytes) -> bytes:
        """Everything up to a text; fails at the deadline."""
        end = time.monotonic() + DEADLINE_S
        while wanted not in self.text and self._read(end):
            pass
        assert wanted in self.text, self.text
        return self.text

    def finish(self) -> bytes:
        """Everything, and the end of the command."""
        while self._read(time.monotonic() + DEADLINE_S):
            pass
        os.close(self.master)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process.wait(DEADLINE_S)
        return self.text

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
        try:
            piece = os.read(self.master, 65536) if ready else b""
        except OSError:  # EIO: the other side was closed
            return False
        self.text += piece
        return bool(piece)


def test_a_terminal_gets_colour_and_lines_that_fit(recording: Path) -> None:
    terminal = Terminal("ps", "--replay", str(recording), "--limit", "3", "--columns", "pid,exe,command", size=(24, 30))
    lines = terminal.finish().decode().splitlines()
    assert lines[0].startswith("\x1b[1m")
    assert max(len(line) for line in lines[1:4]) <= 30


@pytest.mark.parametrize("changes", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_when_not_wanted(recording: Path, changes: dict[str, str]) -> None:
    assert b"\x1b" not in Terminal("ps", "--replay", str(recording), "--limit", "3", **changes).finish()


def test_watch_redraws_in_place_and_restores_the_screen(recording: Path) -> None:
    terminal = Terminal("ps", "--replay", str(recording), "--watch", "--interval", "0.05", "--columns", "pid,name")
    terminal.read_until(b"\x1b[H")
    while terminal.text.count(b"\x1b[H") < 3:
        terminal.text += os.read(terminal.master, 65536)
    terminal.process.send_signal(signal.SIGINT)
    text = terminal.finish()
    assert terminal.process.returncode == 130
    assert text.startswith(b"\x1b[?1049h\x1b[?25l\x1b[H")
    text, left, last = text.partition(b"\x1b[?25h\x1b[?1049l")
    assert left and b"3005 processes" in last and last.endswith(b"\r\n"), "the last look stays"
    assert b"\x1b[H" not in last and b"\x1b[J" not in last
    frame = text.split(b"\x1b[H")[1]
    assert frame.count(b"\r\n") < 10
    assert b"3005 processes" in frame


def test_parquet_refuses_a_terminal(recording: Path) -> None:
    pytest.importorskip("pyarrow")
    terminal = Terminal("ps", "--replay", str(recording), "--format", "parquet")
    assert terminal.finish() == b""
    assert terminal.process.returncode == 2


def test_a_watch_says_everything_that_was_covered(recording: Path) -> None:
    said = subprocess.run([*COMMAND, "ps", "--replay", str(recording)], capture_output=True, text=True, check=True)
    notes = [line for line in said.stdout.rpartition("\n\n")[2].splitlines() if " by " not in line]
    assert notes
    terminal = Terminal("ps", "--replay", str(recording), "--watch", "--duration", "0.05", size=(20, 200), NO_COLOR="1")
    shown = terminal.finish().decode()
    assert [note for note in notes if note not in shown] == [], shown


def test_a_watch_on_a_dumb_terminal_writes_one_after_the_other(recording: Path) -> None:
    terminal = Terminal("ps", "--replay", str(recording), "--watch", "--duration", "0.05", TERM="dumb")
    text = terminal.finish()
    assert b"PID" in text
    assert b"\x1b" not in text


def test_lines_fit_terminals_without_unicode(recording: Path) -> None:
    arguments = ("tree", "--replay", str(recording), "--limit", "5", "--columns", "pid,exe,command", "--quiet")
    terminal = Terminal(*arguments, size=(24, 24), NO_COLOR="1", PYTHONIOENCODING="ascii")
    lines = terminal.finish().decode("ascii").splitlines()
    assert max(map(len, lines)) == 24
    assert any(line.endswith("~") for line in lines)
