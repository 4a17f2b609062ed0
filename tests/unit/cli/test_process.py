"""The command as a process of its own: start-up, pipes, signals."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "hostscope"]
DEADLINE_S = 60
UNUSED_BY_PS = {"rich", "structlog", "asyncio", "numpy", "pyarrow", "difflib", "csv", "hostscope.session.base"}
UNUSED_BY_PLAIN_PS = {
    "hashlib", "pathlib", "ipaddress", "urllib.parse", "tempfile", "subprocess", "socket", "json", "mmap",
    "hostscope.audit", "hostscope.chain", "hostscope.model.capture", "hostscope.model.dns", "hostscope.model.dump",
    "hostscope.model.response", "hostscope.model.socket", "hostscope.model.traffic",
    "hostscope.platforms.linux.containers", "hostscope.platforms.linux.iterator", "hostscope.platforms.linux.loader",
}  # fmt: skip
"""Of one that is neither replayed nor big enough for the kernel's iterator, and asks what anybody may read."""
MOST_MODULES = 90
"""Of ours, each a file to find, read and run."""
LAZY = {"rich", "structlog", "asyncio", "numpy", "pyarrow", "msgspec", "hostscope.session"}


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
    assert not loaded & UNUSED_BY_PS


@pytest.mark.skipif(sys.platform != "linux", reason="names what a sweep of /proc does without")
def test_ps_of_a_small_host_loads_what_it_uses_and_no_more(tmp_path: Path) -> None:
    """Start-up is most of its time: each of these has cost milliseconds."""
    code = (
        "import sys; from hostscope.cli.main import run; "
        "code = run(['ps', '--quiet', '--method', 'proc']); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    environment = os.environ | {"HOSTSCOPE_AUDIT": str(tmp_path / "audit.jsonl")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    loaded = set(done.stderr.split())
    assert "hostscope.platforms.linux.procfs" in loaded
    assert sorted(loaded & (UNUSED_BY_PS | UNUSED_BY_PLAIN_PS)) == []
    assert len([name for name in loaded if name.startswith("hostscope.")]) <= MOST_MODULES


@pytest.mark.skipif(sys.platform != "linux", reason="names what a sweep of /proc does without")
def test_ps_in_plain_fields_uses_no_privilege(tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    environment = os.environ | {"HOSTSCOPE_AUDIT": str(trail)}
    subprocess.run([*COMMAND, "ps", "--method", "proc"], capture_output=True, check=True, env=environment)
    assert not trail.exists()


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv"])
def test_a_closed_pipe_is_silent(recording: Path, form: str) -> None:
    command = [*COMMAND, "ps", "--replay", str(recording), "--format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout is not None and started.stderr is not None
        started.stdout.read(10)
        started.stdout.close()
        assert started.stderr.read() == b""
        assert started.wait(DEADLINE_S) == 0


def treating(number: signal.Signals, how: str) -> list[str]:
    """What runs a command with a signal treated so, whatever this run of the tests does with it."""
    code = f"import os, signal, sys; signal.signal({number:d}, signal.{how}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", code]


@pytest.mark.posix("Windows' console has control events instead: tests/windows/test_console.py")
@pytest.mark.parametrize(("name", "code"), [("SIGHUP", 129), ("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_end_a_watch_cleanly(recording: Path, name: str, code: int) -> None:
    number = signal.Signals[name]
    command = [*treating(number, "SIG_DFL"), *COMMAND, "ps", "--replay", str(recording), "--watch", "--interval", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout is not None and started.stderr is not None
        assert started.stdout.readline().split()[0] == b"PID"
        started.send_signal(number)
        started.stdout.read()
        assert started.stderr.read() == b""
        assert started.wait(DEADLINE_S) == code


@pytest.mark.posix("terminals go away")
def test_nohup_is_respected(recording: Path) -> None:
    ignored = treating(signal.Signals["SIGHUP"], "SIG_IGN")
    command = [*ignored, *COMMAND, "ps", "--replay", str(recording), "--watch", "--interval", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        started.send_signal(signal.Signals["SIGHUP"])
        started.terminate()
        started.stdout.read()
        assert started.wait(DEADLINE_S) == 143


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
