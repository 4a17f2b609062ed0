"""The command as a process of its own: start-up, pipes, signals, terminals."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "hostscope"]
DEADLINE_S = 20
LAZY = {"rich", "structlog", "asyncio", "numpy", "pyarrow", "msgspec", "hostscope.session", "hostscope.model"}


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    return kept | {"TERM": "xterm"} | changes


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from hostscope.cli.main import run; run(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not {name for name in loaded if name in LAZY or name.partition(".")[0] in LAZY}
    assert not {name for name in loaded if name.startswith("hostscope.cli.") and name != "hostscope.cli.main"}
    assert "Commands:" in done.stdout


def test_ps_does_not_load_what_it_does_not_use(recording: Path) -> None:
    code = (
        "import sys; from hostscope.cli.main import run; "
        f"code = run(['ps', '--replay', {str(recording)!r}, '--quiet']); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not loaded & {"rich", "structlog", "asyncio", "numpy", "pyarrow", "difflib"}


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv"])
def test_a_closed_pipe_is_silent(recording: Path, form: str) -> None:
    command = [*COMMAND, "ps", "--replay", str(recording), "--format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout is not None and started.stderr is not None
        started.stdout.read(10)
        started.stdout.close()
        assert started.stderr.read() == b""
        assert started.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_watch_cleanly(recording: Path, number: int, code: int) -> None:
    command = [*COMMAND, "ps", "--replay", str(recording), "--watch", "--interval", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout is not None and started.stderr is not None
        assert started.stdout.readline().split()[0] == b"PID"
        started.send_signal(number)
        started.stdout.read()
        assert started.stderr.read() == b""
        assert started.wait(DEADLINE_S) == code


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
    assert text.endswith(b"\x1b[?25h\x1b[?1049l")
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


@pytest.mark.parametrize(
    ("closed", "code", "out", "err"),
    [(">&-", 1, "", "hostscope: cannot write the output: Bad file descriptor\n"), ("<&-", 0, "PI", "")],
)
def test_streams_that_are_closed(recording: Path, closed: str, code: int, out: str, err: str) -> None:
    script = f'exec "$@" {closed}'
    command = ["sh", "-c", script, "sh", *COMMAND, "ps", "--replay", str(recording)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.lstrip()[:2], done.stderr) == (code, out, err)


def test_messages_without_a_place_are_not_output() -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *COMMAND, "ps", "--columns", "nope"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_an_interrupt_while_importing_shows_no_trace() -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from hostscope.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_lines_fit_terminals_without_unicode(recording: Path) -> None:
    arguments = ("tree", "--replay", str(recording), "--limit", "5", "--columns", "pid,exe,command", "--quiet")
    terminal = Terminal(*arguments, size=(24, 24), NO_COLOR="1", PYTHONIOENCODING="ascii")
    lines = terminal.finish().decode("ascii").splitlines()
    assert max(map(len, lines)) == 24
    assert any(line.endswith("~") for line in lines)
