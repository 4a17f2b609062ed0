"""Ways of looking that fail, and the order of probing."""

import os
import threading
from pathlib import Path

import pytest

from hostscope.errors import Denied, NativeError, Unavailable, Unsupported
from hostscope.model.gap import Reason
from hostscope.platforms.linux import views
from hostscope.platforms.linux.views import _order, _probe_range, exists_by_kill, exists_by_pidfd


def test_every_view_is_given_even_without_an_iterator() -> None:
    found = {view.name: view for view in views.views(None)}
    assert list(found) == ["listing", "iterator", "probe", "cgroup"]
    assert (found["iterator"].pids, found["iterator"].gaps[0].reason) == (frozenset(), Reason.UNSUPPORTED)


def test_the_iterators_pids_are_passed_on() -> None:
    found = {view.name: view for view in views.views(lambda: frozenset({1, 7}))}
    assert (found["iterator"].pids, found["iterator"].gaps) == (frozenset({1, 7}), ())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Denied("no"), Reason.DENIED),
        (Unsupported("no"), Reason.UNSUPPORTED),
        (Unavailable("no"), Reason.UNAVAILABLE),
        (NativeError("bpf", 22, "no"), Reason.UNAVAILABLE),
        (OSError(5, "no"), Reason.UNAVAILABLE),
    ],
)
def test_an_iterator_that_fails_is_a_gap(error: Exception, reason: Reason) -> None:
    def fail() -> frozenset[int]:
        raise error

    (found,) = views._iterator(fail)
    assert (found.pids, found.gaps[0].reason) == (frozenset(), reason)
    assert "no" in (found.gaps[0].detail or "")


@pytest.mark.parametrize(("last", "most", "numbers"), [(5, 9, 9), (9, 9, 9), (20, 9, 9), (0, 3, 3)])
def test_all_numbers_are_probed_once(last: int, most: int, numbers: int) -> None:
    first, rest = _order(last, most)
    assert [*first, *rest] == list(range(1, numbers + 1))


def test_a_probe_without_time_says_where_it_stopped() -> None:
    assert _probe_range((range(1, 10), range(10, 20)), -1) == (set(), 1)
    found = views.probe(-1)
    assert found.gaps[0].reason is Reason.TRUNCATED
    assert "before pid 1 of" in (found.gaps[0].detail or "")


@pytest.mark.parametrize("exists", [exists_by_pidfd, exists_by_kill])
def test_threads_are_not_processes(exists) -> None:  # type: ignore[no-untyped-def]
    tids, release = [], threading.Event()
    started = threading.Event()

    def run() -> None:
        tids.append(threading.get_native_id())
        started.set()
        release.wait(60)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(60)
        assert exists(os.getpid())
        assert not exists(tids[0])
    finally:
        release.set()
        thread.join()


@pytest.mark.parametrize("exists", [exists_by_pidfd, exists_by_kill])
def test_a_zombie_exists_until_it_is_reaped(exists) -> None:  # type: ignore[no-untyped-def]
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert exists(pid)
    os.waitpid(pid, 0)
    assert not exists(pid)


def test_kill_stands_in_for_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert views._chosen_probe() is exists_by_kill


def test_probing_by_both_means_agrees() -> None:
    ours = {os.getpid(), os.getppid(), 1}
    assert {pid for pid in range(1, os.getpid() + 1) if exists_by_kill(pid)} >= ours
    assert views.probe().pids >= ours


def test_no_cgroup_hierarchy_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "read_file", lambda path: b"22 27 0:21 / /proc rw - proc proc rw\n")
    found = views.cgroup()
    assert (found.pids, found.gaps[0].detail) == (frozenset(), "no hierarchy is mounted")


def test_groups_and_their_members(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "cgroup.procs").write_text("1\n2\n")
    (tmp_path / "a" / "cgroup.procs").write_text("")
    (tmp_path / "a" / "b" / "cgroup.procs").write_text("0\n0\n30\n")
    found = views._CgroupPids()
    found.add(os.fsencode(tmp_path))
    assert found.pids == {1, 2, 30}
    assert [gap.reason for gap in found.gaps()] == [Reason.TRUNCATED]


def test_what_a_mount_option_hides_is_a_gap_and_no_finding() -> None:
    found = {view.name: view for view in views.views(None, "hidepid=invisible")}
    assert [gap.detail for gap in found["listing"].gaps] == ["hidepid=invisible"]
    assert os.getpid() in found["listing"].pids
    assert not views.listing().gaps


def test_a_proc_that_does_not_number_us_is_not_compared(tmp_path: Path) -> None:
    assert views._is_ours("/proc")
    assert not views._is_ours(str(tmp_path))
    (tmp_path / "self").symlink_to(str(os.getpid() + 1))
    assert not views._is_ours(str(tmp_path))
