"""The commands themselves on real processes: without a terminal, on one, and without privileges."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.test_acts import ANSWERS, IGNORES, child, members, python, state, until
from tests.zoo.stage import UNPRIVILEGED

pytestmark = [pytest.mark.system]

HOSTSCOPE = (sys.executable, "-m", "hostscope")


def typed(*arguments: str, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *HOSTSCOPE, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOSTSCOPE_AUDIT", str(tmp_path / "audit.jsonl"))
    return tmp_path / "audit.jsonl"


def lines(trail: Path) -> list[tuple[str, str]]:
    found = [json.loads(line) for line in trail.read_bytes().splitlines()]
    return [(line["action"], line["outcome"]) for line in found if line["action"].startswith("act.")]


def test_without_a_terminal_nothing_is_done(trail: Path) -> None:
    with child(*python(ANSWERS)) as target:
        done = typed("kill", str(target.pid))
        assert (done.returncode, done.stdout) == (7, "")
        assert "needs to be confirmed" in done.stderr
        assert target.poll() is None
        assert lines(trail) == [("act.terminate", "refused: not confirmed")]


def test_kill_and_the_trail_of_it(trail: Path) -> None:
    with child(*python(ANSWERS)) as target:
        done = typed("kill", "--yes", "--reason", "drill", str(target.pid))
        assert (done.returncode, done.stderr) == (0, "")
        assert target.wait() == 7
    assert lines(trail) == [("act.terminate", "begun"), ("act.terminate", "done")]
    assert typed("audit", "verify").returncode == 0
    assert typed("audit", "show", "--filter", 'why == "drill"', "--format", "ndjson").stdout.count('"type":"row"') == 2


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 7), (b"\n", 7), (b"\x03", 130)])
def test_a_person_is_asked(trail: Path, answer: bytes, code: int) -> None:
    with child(*python(ANSWERS)) as target:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(sys.executable, [*HOSTSCOPE, "kill", "--grace", "5", str(target.pid)])
        shown = b""
        deadline = time.monotonic() + 60
        while b"[y/N]" not in shown and time.monotonic() < deadline:
            shown += os.read(terminal, 4096)
        assert b"Terminate 1 process" in shown
        until(lambda: state(pid) == "sleeping")  # it reads now: CPython notices no signal between prompt and read
        os.write(terminal, answer)
        rest = b""
        try:
            while piece := os.read(terminal, 4096):
                rest += piece
        except OSError:  # EIO: the other side closed it
            pass
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == code, rest
        assert (target.poll() is None) == (code != 0)


def test_killed_while_it_waits_it_leaves_the_target_as_it_is(trail: Path) -> None:
    """kill -9 of hostscope in the grace: the target was asked, no more."""
    with child(*python(IGNORES)) as target:
        with subprocess.Popen([*HOSTSCOPE, "kill", "--yes", "--grace", "60", str(target.pid)]) as ours:
            until(lambda: trail.exists() and b"begun" in trail.read_bytes())
            ours.kill()
        assert (target.poll(), state(target.pid)) == (None, "sleeping")
    assert lines(trail) == [("act.terminate", "begun")]
    assert typed("audit", "verify").returncode == 0


def test_terminated_while_it_waits_it_says_so(trail: Path) -> None:
    answers = IGNORES.replace("signal.SIG_IGN", "lambda *_: print(flush=True)")
    with child(*python(answers)) as target:
        with subprocess.Popen([*HOSTSCOPE, "kill", "--yes", "--grace", "60", str(target.pid)]) as ours:
            assert target.stdout is not None and target.stdout.readline()
            ours.terminate()
            assert ours.wait(20) == 143
        assert target.poll() is None
    assert lines(trail)[-1] == ("act.terminate", "pending: interrupted after it was signalled")


@pytest.mark.root
def test_somebody_without_privileges_is_told_what_is_missing(tmp_path: Path) -> None:
    prefix = tuple(UNPRIVILEGED.split())
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/") and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    home = {"HOSTSCOPE_AUDIT": str(tmp_path / "audit.jsonl"), "HOSTSCOPE_CACHE": str(tmp_path / "cache")}
    with child(*python(ANSWERS)) as target:
        done = typed("kill", "--dry-run", str(target.pid), prefix=prefix, **home)
        if "Permission denied" in done.stderr or "No module" in done.stderr:
            pytest.skip("the interpreter lies where that user may not read")
        assert "needs root (CAP_KILL) or the process's own user" in done.stdout
        assert done.returncode == 4
        done = typed("kill", "--yes", str(target.pid), prefix=prefix, **home)
        assert done.returncode == 4
        assert "denied" in done.stdout and "CAP_KILL" in done.stdout
        assert target.poll() is None
        done = typed("suspend", "--yes", "--tree", str(target.pid), prefix=prefix, **home)
        assert (done.returncode, state(target.pid)) == (4, "sleeping")


@pytest.mark.root
def test_users_act_on_their_own(tmp_path: Path) -> None:
    prefix = tuple(UNPRIVILEGED.split())
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    with child(*prefix, "/bin/sh", "-c", "echo; sleep 60 & wait") as target:
        until(lambda: len(members(target.pid)) == 2)
        done = typed("kill", "--yes", "--tree", str(target.pid), prefix=prefix,
                     HOSTSCOPE_AUDIT=str(tmp_path / "audit.jsonl"))  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert members(target.pid) == []


def test_many_at_once_share_a_trail(trail: Path) -> None:
    with child(*python(IGNORES)) as target:
        running = [
            subprocess.Popen([*HOSTSCOPE, "resume", "--yes", str(target.pid)], stdout=subprocess.DEVNULL)
            for _ in range(4)
        ]
        assert [each.wait(60) for each in running] == [0] * 4
    assert typed("audit", "verify").returncode == 0
    assert sorted(lines(trail)) == sorted([("act.resume", "begun"), ("act.resume", "done")] * 4)
