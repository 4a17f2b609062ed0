"""Handles of processes: what they refuse to mean."""

import os
import subprocess
import threading
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from hostscope.errors import Denied, Gone, Mismatch, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.platforms.linux import pidfd
from hostscope.platforms.linux.clock import read_boot
from hostscope.platforms.linux.control import Control
from hostscope.platforms.linux.parse import parse_stat
from hostscope.platforms.linux.read import read_file

pytestmark = [pytest.mark.system]
BOOT = read_boot()


def key_of(pid: int) -> ProcessKey:
    return BOOT.key(pid, parse_stat(read_file(f"/proc/{pid}/stat")).start)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as started:
        yield started
        started.kill()


def test_a_pinned_key_has_its_serial(child: subprocess.Popen[bytes]) -> None:
    control = Control(BOOT)
    pinned = control.pin(key_of(child.pid))
    assert control.pin(pinned) == pinned
    fd = os.pidfd_open(child.pid)
    try:
        assert pinned.serial == pidfd.serial(fd)
        other = os.pidfd_open(os.getpid())
        assert pidfd.serial(other) != pinned.serial or pinned.serial is None
        os.close(other)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "change",
    [{"boot_id": "another"}, {"pid_ns": 1}, {"start": 1}, {"serial": 1}],
)
def test_each_part_of_a_key_counts(child: subprocess.Popen[bytes], change: dict[str, object]) -> None:
    control = Control(BOOT)
    pinned = control.pin(key_of(child.pid))
    if pinned.serial is None and "serial" in change:
        pytest.skip("this kernel has no pidfs")
    wrong = replace(pinned, **change)
    for act in (control.pin, control.suspend, control.resume, lambda key: control.terminate(key, True)):
        with pytest.raises(Mismatch):
            act(wrong)
    assert control.wait(wrong, 0), "what is not there any more has ended"
    assert child.poll() is None


def test_a_process_that_was_waited_for_is_gone(child: subprocess.Popen[bytes]) -> None:
    control = Control(BOOT)
    pinned = control.pin(key_of(child.pid))
    assert not control.wait(pinned, 0)
    control.terminate(pinned, True)
    assert control.wait(pinned, 20)
    with pytest.raises(Gone, match="its parent has not waited"):
        control.terminate(pinned, True)
    child.wait()
    with pytest.raises(Gone):
        control.pin(pinned)
    assert control.wait(pinned, 0)


def test_a_thread_is_no_process() -> None:
    ready, stop = threading.Event(), threading.Event()
    tids: list[int] = []

    def run() -> None:
        tids.append(threading.get_native_id())
        ready.set()
        stop.wait()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        with pytest.raises((Gone, Mismatch)):
            Control(BOOT).pin(key_of(tids[0]))
    finally:
        stop.set()
        thread.join()


def test_a_newborn_without_a_serial_is_not_acted_on(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    born = key_of(child.pid)
    monkeypatch.setattr(pidfd, "ticks_now", lambda: born.start)
    with pytest.raises(Mismatch, match="younger than a clock tick"):
        Control(BOOT).terminate(born, True)
    assert child.poll() is None


def test_a_proc_of_another_namespace_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pidfd, "_own_namespace", lambda: 1)
    for boot in (BOOT, replace(BOOT, pid_ns=0)):  # or nobody tells which
        with pytest.raises(Unsupported, match="another PID namespace"):
            Control(boot).pin(key_of(os.getpid()))


@pytest.mark.parametrize(
    ("code", "kind"), [(3, Gone), (22, Gone), (2, Gone), (1, Denied), (13, Denied), (38, Unsupported)]
)
def test_errors_are_told_apart(code: int, kind: type[Exception]) -> None:
    assert type(pidfd.translated(OSError(code, "as the kernel says it"), 7)) is kind
