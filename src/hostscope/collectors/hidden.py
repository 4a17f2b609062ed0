"""Processes that some ways of looking do not show.

The views are taken one after the other, so processes that start or end meanwhile differ between them. A pid counts
only when it differs in the same way in each of several looks.
"""

import threading
from collections.abc import Iterator

from msgspec.structs import replace

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
    views = list(host.processes.views())
    _describe(views, tally)
    lasting = _differences(views)
    for _ in range(LOOKS - 1):
        if not lasting:
            break
        threading.Event().wait(APART_S)
        lasting &= _differences(list(host.processes.views()))
    for pid, shown, missing in sorted(lasting, key=lambda difference: difference[0]):
        tally.rows += 1
        yield _finding(pid, shown, missing)


def _describe(views: list[ProcessView], tally: Tally) -> None:
    """Which views there are, and what they could not show."""
    tally.method = "views " + ", ".join(view.name for view in views)
    tally.seen = len(frozenset().union(*(view.pids for view in views)))
    for view in views:
        tally.count_gaps(replace(gap, field=view.name) for gap in view.gaps)
        for gap in view.gaps:
            tally.note(f"{view.name}: {gap.reason}" + (f" ({gap.detail})" if gap.detail else ""))
    if len(views) < 2 or not any(map(_is_whole, views)):
        tally.hidden = "there are not two views to compare"


def _is_whole(view: ProcessView) -> bool:
    """Whether absence from the view means something."""
    return not view.gaps and view.name not in _SHOWS_ONLY


def _differences(views: list[ProcessView]) -> set[Difference]:
    whole = [view for view in views if _is_whole(view)]
    found = set()
    for pid in frozenset().union(*(view.pids for view in views)):
        missing = frozenset(view.name for view in whole if pid not in view.pids)
        if missing:
            found.add((pid, frozenset(view.name for view in views if pid in view.pids), missing))
    return found


def _finding(pid: int, shown: frozenset[str], missing: frozenset[str]) -> Finding:
    detail = f"shown by {', '.join(sorted(shown))}; missing from {', '.join(sorted(missing))} in {LOOKS} looks"
    return Finding(RULE, "high", f"process {pid} is hidden from {', '.join(sorted(missing))}", detail, pid)
