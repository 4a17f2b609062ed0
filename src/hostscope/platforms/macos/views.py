"""The pids that each way of looking shows. What hides a process seldom hides it from all of them."""

import time
from collections.abc import Callable, Iterator

from hostscope.errors import Error
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import ProcessView
from hostscope.platforms.macos import process_list
from hostscope.platforms.macos.native import errnos, libproc

MOST_PID = 99_999
"""PID_MAX of Darwin."""
PROBE_BUDGET_S = 5.0


def views(probe_budget_s: float = PROBE_BUDGET_S) -> Iterator[ProcessView]:
    """``libproc`` (proc_listpids), ``sysctl`` (the process table), ``probe`` (every pid asked for its session).

    They differ in what they walk: a rootkit that hooks one list seldom answers for all.
    """
    yield _view("libproc", lambda: frozenset(libproc.list_pids()))
    yield _view("sysctl", lambda: frozenset(listed.pid for listed in process_list.read_processes()))
    yield probe(probe_budget_s)


def _view(name: str, pids: Callable[[], frozenset[int]]) -> ProcessView:
    try:
        return ProcessView(name, pids())
    except (OSError, Error) as failed:
        return ProcessView(name, frozenset(), (Gap("pids", Reason.UNAVAILABLE, str(failed)),))


def probe(budget_s: float) -> ProcessView:
    """Every pid that getsid(2) knows; 100,000 calls."""
    deadline = time.monotonic() + budget_s
    found: set[int] = set()
    for pid in range(MOST_PID + 1):
        if pid % 1024 == 0 and time.monotonic() > deadline:
            gap = Gap("pids", Reason.TRUNCATED, f"stopped at pid {pid} after {budget_s:g} s")
            return ProcessView("probe", frozenset(found), (gap,))
        if _exists(pid):
            found.add(pid)
    return ProcessView("probe", frozenset(found))


def _exists(pid: int) -> bool:
    """EPERM means that it is there. getsid(0) is our own session, so the kernel's process is asked for by libproc."""
    if pid == 0:
        return 0 in libproc.list_pids()
    try:
        libproc.session(pid)
    except OSError as failed:
        return failed.errno == errnos.EPERM
    return True
