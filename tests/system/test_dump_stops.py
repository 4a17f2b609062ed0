"""Whatever happens to us while threads are stopped, the target runs on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.dump_target import built, running, runs, status, until

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def program() -> Iterator[str]:
    with built() as path:
        yield path


SLOW = ["--rate-limit", "64K", "--output"]
STAGES = {"reading": [], "frozen": ["--freeze"]}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_whatever_ends_us_the_target_runs_on(program: str, tmp_path: Path, stage: str, blow: signal.Signals) -> None:
    with running(program, threads=8) as target:
        pid = target.child.pid
        command = [sys.executable, "-m", "hostscope", "dump", str(pid), *STAGES[stage], *SLOW, str(tmp_path / "core")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ours:
            until(lambda: written(ours.pid, tmp_path))
            if stage == "frozen":
                assert status(pid, "TracerPid") != "0" and status(pid, "State").startswith("t")
            ours.send_signal(blow)
            code = ours.wait(60)
        until(lambda: status(pid, "TracerPid") == "0" and status(pid, "State")[0] in "SR")
        for tid in os.listdir(f"/proc/{pid}/task"):
            assert status(int(tid), "State")[0] in "SR"
    expected = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
    assert code == expected[blow]
    if blow != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


def test_killed_while_threads_are_being_stopped(program: str) -> None:
    """A tracer that dies at any moment of the stopping: each time a little later."""
    script = """
import os, sys
from hostscope.platforms import open_host
from hostscope.platforms.control import open_control
from hostscope.model.request import ProcessRequest
key = open_host().processes.read(int(sys.argv[1]), ProcessRequest()).key
control = open_control("linux")
print("ready", flush=True)
sys.stdin.readline()
while True:
    with control.freeze(key):
        pass
    control.registers(key)
"""
    with running(program, threads=50) as target:
        pid = target.child.pid
        for wait in (0.0, 0.001, 0.003, 0.01, 0.02, 0.05):
            command = [sys.executable, "-c", script, str(pid)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ours:
                assert ours.stdin and ours.stdout
                ours.stdout.readline()
                ours.stdin.write("\n")
                ours.stdin.flush()
                time.sleep(wait)  # the moment is what is varied
                ours.kill()
            until(lambda: status(pid, "TracerPid") == "0" and status(pid, "State")[0] in "SR")
            until(lambda: all(runs(int(tid)) for tid in os.listdir(f"/proc/{pid}/task")))


def written(pid: int, folder: Path) -> bool:
    """Whether a process has written to a file in a folder, which may have no name yet."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if os.readlink(fd).startswith(f"{folder}/") and fd.stat().st_size:
                return True
    return False


@pytest.mark.parametrize("nameless", [True, False])
def test_interrupts_leave_nothing(program: str, tmp_path: Path, nameless: bool) -> None:
    """At moments from before the file is made to after it is named, with one file of the two never alone."""
    script = (
        "import sys\nfrom hostscope.dumps import output\n"
        f"output.NAMELESS = output.NAMELESS if {nameless} else 0\n"
        "from hostscope.cli.main import main\nprint(1, flush=True)\nmain(sys.argv[1:])"
    )
    with running(program, threads=4) as target:
        for wait in range(24):
            folder = tmp_path / str(wait)
            folder.mkdir()
            command = [sys.executable, "-c", script, "dump", str(target.child.pid), "--output", str(folder / "core")]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ours:
                assert ours.stdout
                ours.stdout.readline()
                time.sleep(0.05 + wait * 0.008)  # the moment is what is varied
                ours.send_signal(signal.SIGINT)
                ours.communicate()
            left = sorted(path.name for path in folder.iterdir())
            assert left in ([], ["core", "core.json"]), wait
