"""Terminate, suspend and resume on real processes, all started and ended by the test that acts on them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hostscope.audit import AuditTrail, Entry, default_path
from hostscope.errors import Gone, Incomplete, Mismatch, Refused, UsageError
from hostscope.model.response import Act, ActRequest
from hostscope.platforms.linux.host import open_host
from hostscope.platforms.linux.parse import parse_stat
from hostscope.session.local import LocalSession

pytestmark = [pytest.mark.system]

ANSWERS = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print(flush=True); time.sleep(60)"
IGNORES = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
PYTHON_FORKS = """
import os, time
while True:
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print(flush=True)
    time.sleep(0.003)
"""
"""Never by vfork(2), which holds the parent in uninterruptible sleep while the child is stopped."""
FORKS = "while :; do sleep 60 & echo; sleep 0.003; done"
SPREADS = (
    'f() { sleep 60 & if [ "$1" -lt 4 ]; then f $(($1 + 1)) & f $(($1 + 1)) & fi; '
    "while :; do sleep 60 & sleep 0.05; done; }; echo; f 0"
)
HEADLESS = """
import ctypes, platform, signal, subprocess, threading, time
def run():
    while True:
        subprocess.Popen(["sleep", "60"])
        time.sleep(0.003)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=run).start()
print(flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""
"""Its first thread has ended; another one goes on starting processes."""


@contextmanager
def child(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own that has said a line; all of its session is ended by pid."""
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert started.stdout is not None
        assert started.stdout.readline()
        yield started
    finally:
        while pids := members(started.pid):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        started.wait()
        if started.stdout:
            started.stdout.close()


def recorded() -> list[Entry]:
    """What the trail holds of acts."""
    return [line for line in AuditTrail(default_path()).entries() if line.action.startswith("act.")]


def python(script: str) -> tuple[str, ...]:
    return sys.executable, "-c", script


def shell(script: str) -> tuple[str, ...]:
    return "/bin/sh", "-c", script


def members(session: int) -> list[int]:
    """Pids of a session that have not ended."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError, ValueError):
                stat = parse_stat(Path(f"/proc/{name}/stat").read_bytes())
                ended = stat.state in ("zombie", "dead") and stat.threads < 2
                if stat.session == session and not ended:
                    found.append(stat.pid)
    return found


def state(pid: int) -> str:
    return str(parse_stat(Path(f"/proc/{pid}/stat").read_bytes()).state)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def session() -> LocalSession:
    return LocalSession(open_host())


def act(session: LocalSession, action: str, *targets: object, **given: object) -> Act:
    request = ActRequest(action, tuple(map(str, targets)), **given)  # type: ignore[arg-type]
    return session.apply(session.plan(request), confirmed=True)


def test_a_process_that_answers_is_only_asked(session: LocalSession) -> None:
    with child(*python(ANSWERS)) as target:
        (outcome,) = act(session, "terminate", target.pid, reason="test").outcomes
        assert (outcome.result, outcome.before, outcome.after) == ("done", "sleeping", "ended")
        assert target.wait() == 7


def test_what_ignores_the_question_is_forced_after_the_grace(session: LocalSession) -> None:
    with child(*python(IGNORES)) as target:
        (outcome,) = act(session, "terminate", target.pid, grace_s=0.3).outcomes
        assert outcome.result == "done"
        assert 0.3e9 <= outcome.elapsed_ns < 3e9
        assert target.wait() == -signal.SIGKILL


def test_without_force_it_survives(session: LocalSession) -> None:
    with child(*python(IGNORES)) as target:
        (outcome,) = act(session, "terminate", target.pid, grace_s=0.1, force=False).outcomes
        assert (outcome.result, outcome.after) == ("survived", "sleeping")
        assert target.poll() is None


def test_no_grace_forces_at_once(session: LocalSession) -> None:
    with child(*python(ANSWERS)) as target:
        act(session, "terminate", target.pid, grace_s=0)
        assert target.wait() == -signal.SIGKILL


def test_a_stopped_process_is_forced_and_never_runs_again(session: LocalSession) -> None:
    with child(*python(ANSWERS)) as target:
        os.kill(target.pid, signal.SIGSTOP)
        until(lambda: state(target.pid) == "stopped")
        plan = session.plan(ActRequest("terminate", (str(target.pid),)))
        assert "stopped: it cannot answer SIGTERM" in plan.steps[0].notes[0]
        session.apply(plan, confirmed=True)
        assert target.wait() == -signal.SIGKILL


def test_suspend_and_resume(session: LocalSession) -> None:
    with child(*python(IGNORES)) as target:
        (outcome,) = act(session, "suspend", target.pid).outcomes
        assert (outcome.result, outcome.after, state(target.pid)) == ("done", "stopped", "stopped")
        (outcome,) = act(session, "resume", target.pid).outcomes
        assert (outcome.result, outcome.before) == ("done", "stopped")
        assert state(target.pid) != "stopped"


def test_a_tree_that_keeps_forking_ends_as_a_whole(session: LocalSession) -> None:
    with child(*shell(FORKS)) as target:
        until(lambda: len(members(target.pid)) > 20)
        done = act(session, "terminate", target.pid, tree=True)
        assert done.complete
        assert {outcome.result for outcome in done.outcomes} <= {"done", "gone"}
        assert members(target.pid) == []
        assert len(done.outcomes) > 20


def test_a_tree_that_spreads_ends_as_a_whole(session: LocalSession) -> None:
    with child(*shell(SPREADS)) as target:
        until(lambda: len(members(target.pid)) > 40)
        done = act(session, "terminate", target.pid, tree=True)
        assert done.complete
        assert members(target.pid) == []


def test_a_tree_is_suspended_and_resumed(session: LocalSession) -> None:
    with child(*python(PYTHON_FORKS)) as target:
        until(lambda: len(members(target.pid)) > 5)
        done = act(session, "suspend", target.pid, tree=True)
        assert {outcome.result for outcome in done.outcomes} <= {"done", "gone"}
        pids = members(target.pid)
        assert {state(pid) for pid in pids} == {"stopped"}
        assert members(target.pid) == pids, "what is stopped does not fork"
        act(session, "resume", target.pid, tree=True)
        until(lambda: len(members(target.pid)) > len(pids))


def test_the_grace_of_a_tree(session: LocalSession) -> None:
    with child(*shell(f"trap '' TERM; {FORKS}")) as target:
        until(lambda: len(members(target.pid)) > 5)
        done = act(session, "terminate", target.pid, tree=True, grace_s=0.3)
        assert done.complete
        assert members(target.pid) == []


def test_a_dry_run_changes_nothing(session: LocalSession) -> None:
    with child(*python(ANSWERS)) as target:
        plan = session.plan(ActRequest("terminate", (str(target.pid),), dry_run=True, reason="only looking"))
        with pytest.raises(Refused, match="dry run"):
            session.apply(plan, confirmed=True)
        assert (target.poll(), state(target.pid)) == (None, "sleeping")
        line = recorded()[-1]
        assert (line.action, line.outcome, line.why) == ("act.terminate", "dry run: would terminate", "only looking")


def test_what_ended_after_the_plan_is_gone(session: LocalSession) -> None:
    with child(*python(ANSWERS)) as target:
        plan = session.plan(ActRequest("terminate", (str(target.pid),)))
        target.kill()
        target.wait()
        (outcome,) = session.apply(plan, confirmed=True).outcomes
        assert outcome.result == "gone"


def test_a_zombie_has_ended(session: LocalSession) -> None:
    with child(*python(ANSWERS)) as target:
        target.send_signal(signal.SIGKILL)
        until(lambda: state(target.pid) == "zombie")
        plan = session.plan(ActRequest("terminate", (str(target.pid),)))
        assert plan.steps[0].status == "ended"
        assert f"its parent {os.getpid()} has not asked" in plan.steps[0].notes[0]
        assert session.apply(plan, confirmed=True).outcomes[0].result == "gone"


def test_what_looks_like_a_zombie_but_runs_is_stopped(session: LocalSession) -> None:
    with child(*python(HEADLESS)) as target:
        until(lambda: state(target.pid) == "zombie")
        (step,) = session.plan(ActRequest("suspend", (str(target.pid),))).steps
        assert (step.status, step.state) == ("ready", "zombie") and "the others run on" in step.notes[0]
        (outcome,) = act(session, "suspend", target.pid).outcomes
        assert (outcome.result, outcome.after) == ("done", "stopped")
        threads = Path(f"/proc/{target.pid}/task").iterdir()
        assert {str(parse_stat((one / "stat").read_bytes()).state) for one in threads} == {"zombie", "stopped"}
        (outcome,) = act(session, "resume", target.pid).outcomes
        assert outcome.result == "done" and outcome.after != "stopped"


def test_a_tree_whose_root_looks_like_a_zombie_ends_as_a_whole(session: LocalSession) -> None:
    with child(*python(HEADLESS)) as target:
        until(lambda: state(target.pid) == "zombie" and len(members(target.pid)) > 5)
        done = act(session, "terminate", target.pid, tree=True)
        assert done.complete and not [one for one in done.outcomes if one.result not in ("done", "gone")]
        assert not members(target.pid)


def test_a_key_with_another_start_or_serial_is_a_mismatch(session: LocalSession) -> None:
    with child(*python(ANSWERS)) as target:
        (step,) = session.plan(ActRequest("terminate", (str(target.pid),))).steps
        if step.key.serial is not None:
            assert session.plan(ActRequest("terminate", (str(step.key),))).steps[0].key == step.key
            with pytest.raises(Mismatch):
                session.plan(ActRequest("terminate", (f"{target.pid}@{step.key.start}#{step.key.serial + 1}",)))
        with pytest.raises(Mismatch):
            session.plan(ActRequest("terminate", (f"{target.pid}@{step.key.start + 1}",)))


@pytest.mark.parametrize(("target", "rule"), [(1, "init"), (os.getpid(), "self"), (os.getppid(), "ancestor")])
def test_whom_the_guard_protects(session: LocalSession, target: int, rule: str) -> None:
    plan = session.plan(ActRequest("terminate", (str(target),), dry_run=True))
    assert rule in {refusal.rule for refusal in plan.refused}
    for action in ("terminate", "suspend"):
        with pytest.raises(Refused):
            session.apply(session.plan(ActRequest(action, (str(target),))), confirmed=True)


@pytest.mark.skipif(not Path("/proc/2/comm").exists(), reason="needs to see kernel threads")
def test_kernel_threads_are_refused_for_every_action(session: LocalSession) -> None:
    for action in ("terminate", "suspend", "resume"):
        plan = session.plan(ActRequest(action, ("2",), dry_run=True))
        assert [(refusal.rule, refusal.overridable) for refusal in plan.refused] == [("kernel-thread", False)]
    with pytest.raises(UsageError, match="cannot be overridden"):
        session.plan(ActRequest("terminate", ("2",), overrides=("kernel-thread",)))


def test_one_refused_process_stops_the_whole_plan(session: LocalSession) -> None:
    with child(*python(ANSWERS)) as target:
        plan = session.plan(ActRequest("terminate", (str(target.pid), "1")))
        with pytest.raises(Refused):
            session.apply(plan, confirmed=True)
        assert target.poll() is None
        lines = recorded()[-2:]
        assert [line.outcome.partition(":")[0] for line in lines] == ["not done", "refused"]


def test_a_process_merely_named_like_a_service_is_not_protected(session: LocalSession, tmp_path: Path) -> None:
    shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / "sshd")
    with child(*shell(f"echo; exec {tmp_path}/sshd 60")) as target:
        until(lambda: Path(f"/proc/{target.pid}/comm").read_text() == "sshd\n")
        (step,) = session.plan(ActRequest("terminate", (str(target.pid),), dry_run=True)).steps
        assert (step.name, step.status, step.role, step.refusals) == ("sshd", "ready", None, ())


@pytest.mark.root
@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="here a unit has to tell")
def test_a_service_is_known_by_its_identity(session: LocalSession) -> None:
    if not os.path.exists("/usr/bin/dbus-daemon"):
        pytest.skip("needs dbus-daemon")
    command = ["/usr/bin/dbus-daemon", "--session", "--fork", "--print-pid", "--address=unix:tmpdir=/tmp"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    pid = int(done.stdout)
    try:
        (step,) = session.plan(ActRequest("terminate", (str(pid),), dry_run=True)).steps
        assert parse_stat(Path(f"/proc/{pid}/stat").read_bytes()).ppid == 1
        assert (step.status, step.role) == ("refused", "message bus")
        assert [refusal.rule for refusal in step.refusals] == ["critical-service"]
        (step,) = session.plan(ActRequest("terminate", (str(pid),), overrides=("critical-service",))).steps
        assert (step.status, step.refusals[0].overridden) == ("ready", True)
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.root
def test_the_first_process_of_a_namespace_is_refused_alone(session: LocalSession) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare (util-linux)")
    with child(unshare, "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", "echo; sleep 60") as target:
        (first,) = [pid for pid in members(target.pid) if pid != target.pid and b"/bin/sh" in argv(pid)]
        (step,) = session.plan(ActRequest("terminate", (str(first),), dry_run=True)).steps
        assert [refusal.rule for refusal in step.refusals] == ["container-init"]
        act(session, "terminate", first, grace_s=0, overrides=("container-init",))
        until(lambda: first not in members(target.pid))


def argv(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_evidence_is_there_before_the_deed(session: LocalSession, tmp_path: Path) -> None:
    with child(*python(ANSWERS)) as target:
        done = act(session, "terminate", target.pid, evidence=str(tmp_path / "case"))
        records = [file for file in done.evidence if file.path.endswith("process.json")]
        (file,) = records
        assert os.stat(file.path).st_mode & 0o777 == 0o600
        document = json.loads(Path(file.path).read_bytes())
        assert document["schema"] == "hostscope.process_inspection/1"
        assert document["inspection"]["process"]["state"] == "sleeping"
        assert document["inspection"]["process"]["key"]["pid"] == target.pid
        assert document["inspection"]["detail"]["open_files"]
        images = [Path(file.path) for file in done.evidence if file.path.endswith(".core")]
        (image,) = images
        assert image.read_bytes()[:4] == b"\x7fELF"
        assert image.stat().st_mode & 0o777 == 0o600
        manifest = image.with_name(image.name + ".json")
        assert [str(manifest)] == [file.path for file in done.evidence if file.sha256 and ".core" in file.path]
        assert target.wait() == 7


def test_missing_evidence_stops_the_act(session: LocalSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with child(*python(ANSWERS)) as target:
        monkeypatch.setattr("hostscope.respond.evidence.write_new", full)
        with pytest.raises(Incomplete, match=r"nothing was done.*No space left"):
            act(session, "terminate", target.pid, evidence=str(tmp_path / "case"))
        assert target.poll() is None
        done = act(session, "terminate", target.pid, evidence=str(tmp_path / "case"), overrides=("evidence",))
        assert any("No space left" in note for note in done.notes)
        assert target.wait() == 7


def test_nothing_is_done_that_cannot_be_recorded(
    session: LocalSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with child(*python(ANSWERS)) as target:
        plan = session.plan(ActRequest("terminate", (str(target.pid),)))
        monkeypatch.setenv("HOSTSCOPE_AUDIT", str(tmp_path))
        with pytest.raises(Exception, match="audit trail"):
            session.apply(plan, confirmed=True)
        assert target.poll() is None


def test_what_is_not_there(session: LocalSession) -> None:
    with pytest.raises(Gone):
        session.plan(ActRequest("terminate", ("no-such-process-here",)))
    with pytest.raises(Gone, match="no container"):
        session.plan(ActRequest("terminate", container="no-such-container"))
    with pytest.raises(UsageError):
        session.plan(ActRequest("terminate"))
