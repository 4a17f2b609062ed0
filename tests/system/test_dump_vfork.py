"""A thread that waits for its vfork child cannot be stopped: a dump says so and does not call itself frozen."""

import subprocess
import time
from pathlib import Path

import pytest

from hostscope.platforms.linux import ptrace_stop
from tests.system.commands import need
from tests.system.dump_target import dumped, status, until

pytestmark = pytest.mark.system

# The child waits for the end of standard input, and its parent for it.
SOURCE = """
#include <pthread.h>
#include <unistd.h>
static void *wait_here(void *unused) { for (;;) pause(); }
int main(void) {
    pthread_t other;
    char byte;
    pthread_create(&other, 0, wait_here, 0);
    if (vfork() == 0) { while (read(0, &byte, 1) > 0); _exit(0); }
    return 0;
}
"""


@pytest.mark.parametrize("frozen", [False, True])
def test_what_does_not_stop_is_said(tmp_path: Path, frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptrace_stop, "PATIENCE_NS", 200_000_000)
    (tmp_path / "vforks.c").write_text(SOURCE)
    program = tmp_path / "vforks"
    subprocess.run([need("gcc", "gcc"), "-pthread", "-o", program, tmp_path / "vforks.c"], check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as child:
        until(lambda: status(child.pid, "State").startswith("D") and status(child.pid, "Threads") == "2")
        row, manifest = dumped(child.pid, tmp_path / "core", freeze=frozen)
        assert child.stdin
        child.stdin.close()
        assert child.wait(60) == 0
    assert manifest.consistency == ("partly-frozen" if frozen else "running")
    first, other = sorted(manifest.threads, key=lambda thread: thread.tid != child.pid)  # numbers may begin anew
    assert (first.stopped_ns > 0, other.stopped_ns > 0) == (False, True)
    assert "sleeps in the kernel (disk-sleep" in str(first.unread)
    assert "1 of 2 threads stood still" in manifest.effects[0]
    assert not row.complete and "1 of 2 threads have no registers" in row.outcome and "did not stop" in row.outcome


MANY = """
#include <pthread.h>
#include <unistd.h>
static void *vforks(void *unused) {
    char byte;
    if (vfork() == 0) { while (read(0, &byte, 1) > 0); _exit(0); }
    return 0;
}
int main(void) {
    pthread_t other;
    for (int i = 0; i < 12; i++) pthread_create(&other, 0, vforks, 0);
    pthread_exit(0);
}
"""


def test_many_that_do_not_stop_are_not_waited_for_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "many.c").write_text(MANY)
    program = tmp_path / "many"
    subprocess.run([need("gcc", "gcc"), "-pthread", "-o", program, tmp_path / "many.c"], check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as child:
        tasks = Path(f"/proc/{child.pid}/task")
        until(lambda: sum(status(int(tid.name), "State").startswith("D") for tid in tasks.iterdir()) == 12)
        began = time.monotonic()
        _, manifest = dumped(child.pid, tmp_path / "core", policy="suspicious")
        took_s = time.monotonic() - began
        assert child.stdin
        child.stdin.close()
        assert child.wait(60) == 0
    stuck = [thread.unread or "" for thread in manifest.threads]
    assert sum("did not stop in 2 s" in why for why in stuck) == 1
    assert sum("did not stop in 0.02 s" in why for why in stuck) == 11
    assert took_s < 12 * ptrace_stop.PATIENCE_NS / 1e9 / 2
