"""The command as a process of its own: start-up, pipes, signals."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "hostscope"]
DEADLINE_S = 20
LAZY = {"rich", "structlog", "asyncio", "numpy", "pyarrow", "msgspec", "hostscope.session", "hostscope.model"}


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


@pytest.mark.posix("Windows' console has control events instead: tests/windows/test_console.py")
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


@pytest.mark.posix("the shell closes them")
@pytest.mark.parametrize(
    ("closed", "code", "out", "err"),
    [(">&-", 1, "", "hostscope: cannot write the output: Bad file descriptor\n"), ("<&-", 0, "PI", "")],
)
def test_streams_that_are_closed(recording: Path, closed: str, code: int, out: str, err: str) -> None:
    script = f'exec "$@" {closed}'
    command = ["sh", "-c", script, "sh", *COMMAND, "ps", "--replay", str(recording)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.lstrip()[:2], done.stderr) == (code, out, err)


@pytest.mark.posix("the shell closes it")
def test_messages_without_a_place_are_not_output() -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *COMMAND, "ps", "--columns", "nope"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.posix("the exit status is the signal")
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
