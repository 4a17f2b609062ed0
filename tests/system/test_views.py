"""Views of which processes exist: they agree, and differ where something hides."""

import os

import pytest

from hostscope.platforms.linux.views import cgroup, listing, probe, views
from tests.system.told_child import NOBODY, told_child

pytestmark = pytest.mark.system


def test_a_child_shows_in_every_view_and_in_none_when_it_is_gone() -> None:
    with told_child("told = 0") as (pid, _):
        assert all(pid in view.pids for view in (listing(), probe(), cgroup()))
    assert not any(pid in view.pids for view in (listing(), probe(), cgroup()))


def test_threads_show_in_no_view() -> None:
    script = """
import threading
told = []
for _ in range(5):
    ready = threading.Event()
    def run(): told.append(threading.get_native_id()); ready.set(); threading.Event().wait()
    threading.Thread(target=run, daemon=True).start(); ready.wait()
"""
    with told_child(script) as (pid, tids):
        for view in (listing(), probe(), cgroup()):
            assert pid in view.pids
            assert not view.pids & set(tids), view.name


def test_a_zombie_has_left_its_control_group() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        assert (pid in listing().pids, pid in probe().pids, pid in cgroup().pids) == (True, True, False)
    finally:
        os.waitpid(pid, 0)


def test_what_lives_throughout_is_in_all_views() -> None:
    """Kernel threads and daemons; what started or ended meanwhile is in only one of the two listings."""
    before = listing().pids
    probed, grouped = probe(120), cgroup()
    stayed = before & listing().pids
    zombies = {pid for pid in stayed if _is_zombie(pid)}
    assert stayed <= probed.pids
    assert stayed - zombies <= grouped.pids or grouped.gaps


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"Z"
    except OSError:
        return True


@pytest.mark.root
def test_what_a_listing_hides_the_probe_shows() -> None:
    """A hidepid mount hides from the listing only, as a rootkit that filters it would."""
    script = """
from hostscope.platforms.linux.views import views
told = {view.name: sorted(view.pids) for view in views()}
"""
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    prefix = ["unshare", "--mount", "sh", "-c", hide, "sh", *nobody]
    with told_child(script, prefix=prefix) as (pid, found):
        assert pid in found["listing"] and pid in found["probe"]
        assert os.getpid() not in found["listing"]
        assert os.getpid() in found["probe"]
        assert os.getpid() in found["cgroup"]


@pytest.mark.root
def test_inside_a_pid_namespace_outsiders_are_a_gap() -> None:
    script = """
from hostscope.platforms.linux.views import views
told = {view.name: [sorted(view.pids), [gap.detail for gap in view.gaps]] for view in views()}
"""
    with told_child(script, prefix=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]) as (_, found):
        assert found["listing"][0] == found["probe"][0] == [1]
        assert found["cgroup"][0] == [1]
        assert found["cgroup"][1] == ["some members are of PID namespaces that ours cannot number"]


def test_all_four_are_named() -> None:
    assert [view.name for view in views()] == ["listing", "iterator", "probe", "cgroup"]
