"""The pids that each way of looking shows. What hides a process seldom hides it from all of them.

Processes start and end between two views, and some are rightly missing from one: compare again before you believe a
difference (`listing` is given first, so that a process that is new is missing there and nowhere else).
"""

import errno
import os
import time
from collections.abc import Callable, Iterator

from hostscope.errors import Error
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import ProcessView
from hostscope.platforms.linux.group_walk import walk_groups
from hostscope.platforms.linux.hostfiles import reason_of
from hostscope.platforms.linux.parse import INITIAL_CGROUP_NS
from hostscope.platforms.linux.parse_host import parse_last_pid, parse_mounts
from hostscope.platforms.linux.read import list_pids, read_file

PROBE_BUDGET_S = 5.0
_PER_CLOCK_READING = 1024

Pids = Callable[[], frozenset[int]]


def views(
    iterator_pids: Pids | None = None, hidden: str | None = None, probe_budget_s: float = PROBE_BUDGET_S
) -> Iterator[ProcessView]:
    """Four views: ``listing``, ``iterator``, ``probe``, ``cgroup``; one that cannot be had is empty with a gap.

    Args:
        iterator_pids: gives the pids that the kernel iterator shows, in our PID namespace.
        hidden: why a listing of /proc rightly lacks processes (a mount option), if it does.
        probe_budget_s: when the probe of all possible pids takes longer, it stops, with a gap that says where.
    """
    yield listing(hidden)
    yield from _iterator(iterator_pids)
    yield probe(probe_budget_s)
    yield cgroup()


def listing(hidden: str | None = None) -> ProcessView:
    """What a listing of /proc shows. Hooking getdents(2) is the oldest way of hiding.

    `hidden` says why processes are rightly missing. A /proc of another PID namespace numbers processes as we do not.
    """
    try:
        if not _is_ours("/proc"):
            gap = Gap("pids", Reason.UNSUPPORTED, "/proc shows another PID namespace than ours")
            return ProcessView("listing", frozenset(), (gap,))
        pids = frozenset(list_pids())
    except OSError as failed:
        return _missing("listing", failed)
    return ProcessView("listing", pids, (Gap("pids", Reason.TRUNCATED, hidden),) if hidden else ())


def _is_ours(proc: str) -> bool:
    """Whether it numbers us as we do; a namespace that we are not in shows no ``self``."""
    try:
        return os.readlink(f"{proc}/self") == str(os.getpid())
    except FileNotFoundError:
        return False


def _iterator(iterator_pids: Pids | None) -> Iterator[ProcessView]:
    if iterator_pids is None:
        gap = Gap("pids", Reason.UNSUPPORTED, "the kernel iterator cannot be used here")
        yield ProcessView("iterator", frozenset(), (gap,))
        return
    try:
        yield ProcessView("iterator", iterator_pids())
    except Error as failed:
        yield ProcessView("iterator", frozenset(), (Gap("pids", failed.reason, failed.message),))
    except OSError as failed:
        yield _missing("iterator", failed)


def _missing(name: str, failed: OSError) -> ProcessView:
    return ProcessView(name, frozenset(), (Gap("pids", reason_of(failed), failed.strerror or str(failed)),))


# Probing ------------------------------------------------------------------------------------------------------------


def probe(budget_s: float = PROBE_BUDGET_S) -> ProcessView:
    """Which pids exist when each possible one is asked for.

    pidfd_open(2) answers for any process without a privilege, and tells leaders from other threads. Where it cannot
    be used (before Linux 5.3), kill(2) with signal 0 does: EPERM means that the process exists; other threads, which
    it cannot tell, are taken out by their status file, so a thread without one counts as a process.

    Cost: 0.7 µs a number: 25 ms for pid_max 32,768, 3 s for 4,194,304 (measured on 2 slow cores).
    """
    try:
        last, most = parse_last_pid(read_file("/proc/loadavg")), int(read_file("/proc/sys/kernel/pid_max"))
    except (OSError, ValueError) as failed:
        return ProcessView("probe", frozenset(), (Gap("pids", Reason.UNAVAILABLE, f"the range is unknown: {failed}"),))
    try:
        found, next_pid = _probe_range(_order(last, most), budget_s)
    except OSError as failed:
        return _missing("probe", failed)
    if next_pid is None:
        return ProcessView("probe", frozenset(found))
    gap = Gap("pids", Reason.TRUNCATED, f"stopped after {budget_s:g} s before pid {next_pid} of {most}")
    return ProcessView("probe", frozenset(found), (gap,))


def _order(last: int, most: int) -> tuple[range, range]:
    """All pids; first those up to the one given out last, where nearly all are unless numbers have wrapped round."""
    return range(1, min(last, most) + 1), range(min(last, most) + 1, most + 1)


def _probe_range(ranges: tuple[range, range], budget_s: float) -> tuple[set[int], int | None]:
    """The pids that exist, and the first one that there was no time for."""
    exists, deadline, found = _chosen_probe(), time.monotonic() + budget_s, set[int]()
    for pids in ranges:
        for start in range(0, len(pids), _PER_CLOCK_READING):
            if time.monotonic() > deadline:
                return found, pids[start]
            found.update(pid for pid in pids[start : start + _PER_CLOCK_READING] if exists(pid))
    return found, None


def _chosen_probe() -> Callable[[int], bool]:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return exists_by_kill
    return exists_by_pidfd


def exists_by_pidfd(pid: int) -> bool:
    """Whether `pid` is a process: not for other threads than the first (EINVAL; ENOENT from Linux 6.15)."""
    try:
        os.close(os.pidfd_open(pid))
    except OSError as failed:
        if failed.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):
            return False
        raise
    return True


def exists_by_kill(pid: int) -> bool:
    """Whether `pid` is a process, without pidfds. Signal 0 is never delivered."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it exists, and is another user's
    return not _is_other_thread(pid)


def _is_other_thread(tid: int) -> bool:
    try:
        status = read_file(f"/proc/{tid}/status")
    except OSError:
        return False
    return b"\nTgid:\t%d\n" % tid not in status


# Control groups -----------------------------------------------------------------------------------------------------


def cgroup() -> ProcessView:
    """The pids in all cgroup.procs files of all mounted hierarchies, version 1 and 2.

    Rightly missing: zombies, whose control group is gone before they are.

    Cost: four system calls a control group and hierarchy.
    """
    try:
        roots = [mount.point for mount in parse_mounts(read_file("/proc/self/mountinfo")) if _is_cgroup(mount.type)]
    except (OSError, ValueError) as failed:
        return ProcessView("cgroup", frozenset(), (Gap("pids", Reason.UNAVAILABLE, str(failed)),))
    if not roots:
        return ProcessView("cgroup", frozenset(), (Gap("pids", Reason.UNAVAILABLE, "no hierarchy is mounted"),))
    found, gaps = _CgroupPids(), _namespace_gap()
    for root in roots:
        found.add(root)
    return ProcessView("cgroup", frozenset(found.pids), (*gaps, *found.gaps()))


def _is_cgroup(type: bytes) -> bool:
    return type in (b"cgroup", b"cgroup2")


def _namespace_gap() -> tuple[Gap, ...]:
    try:
        inside = os.stat("/proc/self/ns/cgroup").st_ino != INITIAL_CGROUP_NS
    except OSError as failed:
        return (Gap("pids", reason_of(failed), f"/proc/self/ns/cgroup: {failed.strerror}"),)
    detail = "we are in a cgroup namespace: processes outside of its root do not show"
    return (Gap("pids", Reason.TRUNCATED, detail),) if inside else ()


class _CgroupPids:
    def __init__(self) -> None:
        self.pids: set[int] = set()
        self._outsiders = 0
        self._failed: dict[Reason, tuple[int, str]] = {}

    def add(self, root: bytes) -> None:
        """All groups below one mount point."""
        for path in walk_groups(root, self._count):
            self._read(path + b"/cgroup.procs")

    def _read(self, path: bytes) -> None:
        try:
            raw = read_file(os.fsdecode(path), 1 << 26)
        except OSError as failed:
            # EOPNOTSUPP: a threaded group (version 2); its processes are in the file of its domain's root.
            if failed.errno != errno.EOPNOTSUPP:
                self._count(failed)
            return
        pids = [int(line) for line in raw.split() if line.isdigit()]
        self._outsiders = max(self._outsiders, pids.count(0))
        self.pids.update(pid for pid in pids if pid)

    def _count(self, failed: OSError) -> None:
        if failed.errno in (errno.ENOENT, errno.ENODEV):
            return  # the group was removed meanwhile
        count, text = self._failed.get(reason_of(failed), (0, f"{failed.filename}: {failed.strerror}"))
        self._failed[reason_of(failed)] = (count + 1, text)

    def gaps(self) -> Iterator[Gap]:
        """What could not be read, and processes that have no number here: cgroup.procs shows them as 0."""
        for reason, (count, text) in self._failed.items():
            yield Gap("pids", reason, f"{count} control groups, first {text}")
        if self._outsiders:
            yield Gap("pids", Reason.TRUNCATED, "some members are of PID namespaces that ours cannot number")
