"""Processes that some ways of looking do not show.

The views are taken one after the other, so processes that start or end meanwhile differ between them. A pid counts
only when it differs in the same way in each of several looks.
"""

import threading
from collections.abc import Iterator

from hostscope.model.answer import Answer
from hostscope.model.host import Finding, ProcessView
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

LOOKS = 3
APART_S = 0.05
RULE = "hidden_process"

Difference = tuple[int, frozenset[str], frozenset[str]]
"""Pid, the views that show it, and the views that should but do not."""

_SHOWS_ONLY = frozenset({"cgroup"})
"""Views from which a process may rightly be absent: zombies and foreign control groups are in no cgroup.procs."""


def collect(host: Host, request: ProcessRequest | None = None) -> Answer[Finding]:
    """A finding for each process that is missing from a view that should show it."""
    tally = Tally()
    return Answer(_rows(host, tally), tally.coverage)


def _rows(host: Host, tally: Tally) -> Iterator[Finding]:
    lasting = _look(host, tally)
    for _ in range(LOOKS - 1):
        if not lasting:
            break
        threading.Event().wait(APART_S)
        lasting &= _look(host, tally)
    for pid, shown, missing in sorted(lasting, key=lambda difference: difference[0]):
        tally.rows += 1
        yield _finding(pid, shown, missing)


def _look(host: Host, tally: Tally) -> set[Difference]:
    views = list(host.processes.views())
    tally.method = "views " + ", ".join(view.name for view in views)
    tally.seen = len(frozenset().union(*(view.pids for view in views)))
    for view in views:
        for gap in view.gaps:
            tally.note(f"{view.name}: {gap.reason}" + (f" ({gap.detail})" if gap.detail else ""))
    whole = [view for view in views if _is_whole(view)]
    if len(whole) < 2 and (not whole or len(views) < 2):
        tally.hidden = "there are not two views to compare"
    return set(_differences(views, whole))


def _is_whole(view: ProcessView) -> bool:
    """Whether absence from the view means something."""
    return not view.gaps and view.name not in _SHOWS_ONLY


def _differences(views: list[ProcessView], whole: list[ProcessView]) -> Iterator[Difference]:
    everyone = frozenset().union(*(view.pids for view in views))
    for pid in everyone:
        missing = frozenset(view.name for view in whole if pid not in view.pids)
        if missing:
            yield pid, frozenset(view.name for view in views if pid in view.pids), missing


def _finding(pid: int, shown: frozenset[str], missing: frozenset[str]) -> Finding:
    detail = f"shown by {', '.join(sorted(shown))}; missing from {', '.join(sorted(missing))} in {LOOKS} looks"
    return Finding(RULE, "high", f"process {pid} is hidden from {', '.join(sorted(missing))}", detail, pid)
