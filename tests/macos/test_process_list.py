"""The process table and the clock, on the scripted libSystem."""

import pytest

from hostscope.errors import Denied, Gone
from hostscope.platforms.macos.clock import read_boot, started_at_ns
from hostscope.platforms.macos.native import errnos, libproc
from hostscope.platforms.macos.process_list import read_key, read_one, read_processes
from tests.macos.scripted import Darwin


def test_boot_is_identified_by_its_session(darwin: Darwin) -> None:
    boot = read_boot()
    assert boot.boot_id == "5C0B7F2E-0000-4000-8000-000000000001"
    assert boot.at_ns == 1_699_999_000 * 10**9
    assert boot.nanoseconds(24_000_000) == 10**9  # Apple silicon: 24 MHz
    key = boot.key(7, 1_700_000_000_000_042)
    assert (key.pid, key.start, key.pid_ns) == (7, 1_700_000_000_000_042, 0)
    assert started_at_ns(key.start) == 1_700_000_000_000_042_000


def test_table_lists_everything_in_order(darwin: Darwin) -> None:
    darwin.add(501, comm=b"Safari", uid=501, ppid=1, groups=(20, 12, 61), nice=-5, tdev=0x10000003)
    darwin.add(1, comm=b"launchd", ppid=0)
    darwin.add(502, status=5, comm=b"gone soon", ppid=501)
    init, safari, zombie = read_processes()
    assert (init.pid, init.name, init.ppid, init.terminal) == (1, "launchd", 0, None)
    assert (safari.uid, safari.gid, safari.groups, safari.nice) == (501, 20, (20, 12, 61), -5)
    assert (safari.start_us, safari.terminal, safari.login) == (1_700_000_000_000_042, 0x10000003, "ann")
    assert zombie.status == 5


def test_table_is_the_same_for_every_user(darwin: Darwin) -> None:
    darwin.reset(uid=501)
    darwin.add(1, comm=b"launchd")
    assert [listed.pid for listed in read_processes()] == [1]


def test_one_process(darwin: Darwin) -> None:
    darwin.add(7)
    assert read_one(7).pid == 7
    assert read_key(read_boot(), 7).pid == 7
    with pytest.raises(Gone):
        read_one(8)


def test_refused_table_is_denied(darwin: Darwin) -> None:
    darwin.fail("SYSCTL", errnos.EPERM)
    with pytest.raises(Denied):
        read_processes()


def test_list_that_grows_is_read_whole(darwin: Darwin) -> None:
    for pid in range(1, 51):
        darwin.add(pid)
    darwin.grow(100)
    pids = libproc.list_pids()
    assert len(pids) == 250 and set(range(1, 51)) < set(pids)  # two readings: the first was cut off
    assert darwin.calls("LISTPIDS") == 3


def test_list_that_grows_by_sysctl(darwin: Darwin) -> None:
    for pid in range(1, 51):
        darwin.add(pid)
    darwin.grow(30)
    assert len(read_processes()) > 50
