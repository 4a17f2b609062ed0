"""What becomes of a process when hostscope is killed while it holds it still, debugs it, or has just started it."""

import subprocess
import sys
from collections.abc import Callable

from tests.windows.children import Child
from tests.windows.keys import key_of
from tests.windows.test_control import suspensions
from tests.windows.waiting import eventually

ANSWERS = "say(ready=True)\nwhile wait():\n    say(alive=True)"
FIRST = """
import threading
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.control import Control
from tests.windows.keys import key_of
control, pid = Control(), int(sys.argv[1])
"""
FREEZES = FIRST + "with control.freeze(key_of(pid)): say(held=True); wait()"
TRACES = (
    FIRST
    + """
request = TraceRequest((key_of(pid),), ("CreateRemoteThread",), method="debugger")
events = control.trace(request, threading.Event(), Tally())
next(events)
threading.Timer(1, lambda: say(held=True)).start()
for event in events: pass
"""
)
STARTS = FIRST + "with control.spawn((sys.executable, '-c', 'input()')) as made: say(pid=made.key.pid); wait()"
LETS_RUN = FIRST + (
    "with control.spawn((sys.executable, '-c', 'input()')) as made: made.release(); say(pid=made.key.pid); wait()"
)


def killed(child: Callable[..., Child], code: str, pid: int) -> dict[str, int]:
    """What it told before it was killed, without a chance to tidy up."""
    one = child(code, str(pid))
    one.process.kill()
    one.process.wait(60)
    return one.told


def is_there(pid: int) -> bool:
    try:
        return bool(key_of(pid))
    except StopIteration:
        return False


def test_a_frozen_process_runs_on_or_can_be_resumed(child: Callable[..., Child]) -> None:
    """Windows 11 lets it run with the end of who froze it. Before, a suspension outlives us: one `resume` undoes it."""
    one = child(ANSWERS)
    killed(child, FREEZES, one.pid)
    if any(suspensions(one.pid)):
        command = [sys.executable, "-m", "hostscope", "resume", str(one.pid), "--yes"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    assert not any(suspensions(one.pid))
    assert one.ask() == {"alive": True}


def test_a_traced_process_runs_on(child: Callable[..., Child]) -> None:
    one = child(ANSWERS)
    killed(child, TRACES, one.pid)
    assert one.ask() == {"alive": True}
    assert not any(suspensions(one.pid))


def test_a_program_that_was_not_released_ends_with_us(child: Callable[..., Child]) -> None:
    pid = killed(child, STARTS, 0)["pid"]
    eventually(lambda: not is_there(pid))


def test_a_program_that_was_released_does_not(child: Callable[..., Child]) -> None:
    pid = killed(child, LETS_RUN, 0)["pid"]
    assert is_there(pid)
    command = [sys.executable, "-m", "hostscope", "kill", str(pid), "--yes"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    eventually(lambda: not is_there(pid))
