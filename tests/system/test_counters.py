"""The host and its counters against other tools' answers."""

import os
import platform
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from hostscope.platforms.linux.counters import Counters
from hostscope.platforms.linux.security import Security
from hostscope.platforms.linux.system import System
from tests.system.told_child import NOBODY, run_told

pytestmark = pytest.mark.system


def test_times_stand_between_two_readings_of_psutil() -> None:
    before, found, after = psutil.cpu_times(), Counters().read(), psutil.cpu_times()
    spent = found.cpu_user_ns / 1e9
    # psutil's are sums of fractions: a rounding below a tick.
    assert before.user + before.nice - 1e-3 <= spent <= after.user + after.nice + 1e-3
    for name in ("idle", "iowait", "steal"):
        low, high = getattr(before, name), getattr(after, name)
        assert low - 0.01 <= getattr(found, f"cpu_{name}_ns") / 1e9 <= high + 0.01  # iowait may go back (proc_stat(5))


def test_memory_and_the_rest_agree_with_psutil() -> None:
    before, found, after = psutil.getloadavg()[0], Counters().read(), psutil.getloadavg()[0]
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    assert (found.memory_total_bytes, found.swap_total_bytes) == (memory.total, swap.total)
    assert abs((found.memory_available_bytes or 0) - memory.available) < memory.total // 10
    assert found.cpu_count == psutil.cpu_count()
    assert found.load_1m is not None
    assert min(before, after) - 0.01 <= found.load_1m <= max(before, after) + 0.01


def test_disks_agree_with_psutil() -> None:
    before = psutil.disk_io_counters(perdisk=True)
    found = {disk.name: disk for disk in Counters().read().disks}
    after = psutil.disk_io_counters(perdisk=True)
    for name, disk in found.items():
        low, high = before[name], after[name]
        assert low.read_count <= disk.reads <= high.read_count
        assert low.read_bytes <= disk.read_bytes <= high.read_bytes
        assert low.write_bytes <= disk.written_bytes <= high.write_bytes
        assert low.write_time <= disk.write_time_ns // 1_000_000 <= high.write_time


def test_work_shows_in_the_counters() -> None:
    first = Counters().read()
    deadline = time.process_time() + 0.2
    while time.process_time() < deadline:
        pass
    subprocess.run(["true"], check=True)
    second = Counters().read()
    busy = second.cpu_user_ns + second.cpu_system_ns - first.cpu_user_ns - first.cpu_system_ns
    assert busy >= 150_000_000
    assert (second.processes_created or 0) > (first.processes_created or 0)
    assert second.at_ns > first.at_ns


def test_pressure_is_there_or_a_gap() -> None:
    found = Counters().read()
    gaps = {gap.field for gap in found.gaps}
    for name in ("cpu", "memory", "io"):
        assert (getattr(found, f"pressure_{name}") is None) == (f"pressure_{name}" in gaps)
        assert (f"pressure_{name}" in gaps) == (not os.path.exists(f"/proc/pressure/{name}"))


def test_the_host_agrees_with_uname_and_psutil() -> None:
    info = System().info()
    assert (info.hostname, info.kernel, info.architecture) == (
        socket.gethostname(),
        platform.release(),
        platform.machine(),
    )
    assert (info.system, info.cpus) == ("linux", os.cpu_count())
    assert info.os_name == platform.freedesktop_os_release()["PRETTY_NAME"]
    assert abs(info.booted_at_ns / 1e9 - psutil.boot_time()) < 2
    assert info.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert f"pid:[{info.pid_ns}]" == os.readlink("/proc/self/ns/pid")
    assert info.memory_bytes == psutil.virtual_memory().total
    assert info.gaps == ()


def test_security_modules_by_call_agree_with_securityfs() -> None:
    file = Path("/sys/kernel/security/lsm")
    state = Security().state()
    if not file.exists():
        assert state.lsms is None or "capability" in state.lsms
        return
    assert state.lsms == tuple(file.read_text().strip().split(","))


@pytest.mark.root
def test_security_state_with_securityfs_in_a_private_mount_namespace() -> None:
    """The file, where it is not mounted for all, against the system call."""
    script = """
import subprocess
from hostscope.platforms.linux.security import Security
unmounted = Security().state()
subprocess.run(["mount", "-t", "securityfs", "none", "/sys/kernel/security"], check=False)
mounted = Security().state()
told = [unmounted.lsms, mounted.lsms, mounted.lockdown, [gap.field for gap in mounted.gaps]]
"""
    by_call, by_file, lockdown, gaps = run_told(script, prefix=["unshare", "--mount"])
    assert by_call == by_file
    assert lockdown in ("none", "integrity", "confidentiality")
    assert "lockdown" not in gaps


@pytest.mark.root
def test_a_hidepid_mount_is_named_to_those_it_hides_from() -> None:
    script = """
from hostscope.platforms.linux.security import Security
told = Security().state().hidepid
"""
    mount = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    private = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    assert run_told(script, prefix=[*private, *nobody]) == "invisible"
    assert run_told(script, prefix=private) is None


@pytest.mark.root
def test_a_proc_without_host_files_has_no_counters() -> None:
    script = """
from hostscope.errors import Unavailable
from hostscope.platforms.linux.counters import Counters
try: told = Counters().read().at_ns
except Unavailable as failed: told = failed.hint
"""
    private = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o subset=pid proc /proc && exec "$@"', "sh"]
    assert run_told(script, prefix=private) == "is /proc mounted with subset=pid?"
