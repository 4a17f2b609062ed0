"""The pids that each way of looking shows. What hides a process seldom hides it from all of them."""

import time
from collections.abc import Callable, Iterator

from hostscope.errors import Error
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import ProcessView
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.attempts import as_gap
from hostscope.platforms.windows.images import IDLE
from hostscope.platforms.windows.native import handles, toolhelp
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.native.library import last_error
from hostscope.platforms.windows.process_list import read_processes

PROBE_BUDGET_S = 5.0
STEP = 4
"""Pids are multiples of it; OpenProcess ignores the two lowest bits."""
LEAST_PIDS, MARGIN = 1 << 16, 4
"""How far is probed: 65,536, or four times as far as the highest pid listed. Windows gives out the lowest free ones."""
_PER_CLOCK_READING = 256


def views(probe_budget_s: float = PROBE_BUDGET_S) -> Iterator[ProcessView]:
    """Four views: ``listing``, ``toolhelp``, ``enum_processes``, ``probe``; one that cannot be had is empty with a gap.

    The first three ask the same list of the kernel, through different DLLs: what hooks one of them shows. The probe
    asks the table of pids, which a process keeps that was taken out of the list (direct kernel object manipulation).
    The idle process is in none: its number, 0, stands for no process.

    Args:
        probe_budget_s: when the probe takes longer, it stops, with a gap that says where.
    """
    listing = _view("listing", lambda: [listed.pid for listed in read_processes()])
    yield listing
    yield _view("toolhelp", lambda: [entry.pid for entry in toolhelp.processes()])
    yield _view("enum_processes", native.listed_pids)
    yield probe(max(listing.pids, default=0), probe_budget_s)


def _view(name: str, read: Callable[[], list[int]]) -> ProcessView:
    try:
        return ProcessView(name, frozenset(read()) - {IDLE})
    except (Error, OSError) as failed:
        return ProcessView(name, frozenset(), (as_gap("pids", failed),))


def probe(highest: int, budget_s: float = PROBE_BUDGET_S) -> ProcessView:
    """Which pids can be opened, or are refused because somebody has them.

    A process that has ended keeps its pid while somebody holds a handle of it: those are left out.

    Cost: a call for each possible pid, four for each that exists.
    """
    found, deadline = set[int](), time.monotonic() + budget_s
    for pid in range(STEP, max(LEAST_PIDS, highest * MARGIN) + 1, STEP):
        if pid % (STEP * _PER_CLOCK_READING) == 0 and time.monotonic() > deadline:
            gap = Gap("pids", Reason.TRUNCATED, f"stopped after {budget_s:g} s before pid {pid}")
            return ProcessView("probe", frozenset(found), (gap,))
        if _exists(pid):
            found.add(pid)
    return ProcessView("probe", frozenset(found))


def _exists(pid: int) -> bool:
    handle = handles.kernel32.OpenProcess(handles.PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    if not handle:
        return last_error() in translate.REFUSED
    try:
        return not native.times(handle)[1]
    except OSError:
        return True
    finally:
        handles.close(handle)
