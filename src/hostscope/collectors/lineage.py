"""Who descends from whom. Parents are found within one sweep, and only if they are old enough to be the parent."""

from collections.abc import Iterable, Iterator, Mapping

from hostscope.model.key import ProcessKey
from hostscope.model.process import Ancestor, Process
from hostscope.model.tree import TreeRow

Parents = Mapping[ProcessKey, Process | None]


def find_parents(processes: Iterable[Process]) -> dict[ProcessKey, Process | None]:
    """Each process's parent among the given ones; None for a root.

    A process that started after its supposed child took over a reused pid and is not its parent.
    """
    rows = list(processes)
    by_pid = {process.key.pid: process for process in rows}
    return {process.key: _parent(process, by_pid) for process in rows}


def _parent(process: Process, by_pid: Mapping[int, Process]) -> Process | None:
    parent = by_pid.get(process.ppid) if process.ppid else None
    if parent is None or parent.key == process.key:
        return None
    if parent.started_at_ns is not None and process.started_at_ns is not None:
        return parent if parent.started_at_ns <= process.started_at_ns else None
    return parent


def ancestors(process: Process, parents: Parents) -> tuple[Process, ...]:
    """The chain of parents, nearest first."""
    chain: list[Process] = []
    seen = {process.key}
    parent = parents.get(process.key)
    while parent is not None and parent.key not in seen:
        chain.append(parent)
        seen.add(parent.key)
        parent = parents.get(parent.key)
    return tuple(chain)


def ancestry(process: Process, parents: Parents) -> tuple[Ancestor, ...]:
    """The chain of parents as keys and names, nearest first."""
    return tuple(Ancestor(parent.key, parent.name) for parent in ancestors(process, parents))


def arrange(processes: Iterable[Process]) -> Iterator[TreeRow]:
    """Depth first, siblings by pid; a process whose parent is not among the given ones is a root."""
    rows = sorted(processes, key=lambda process: process.key.pid)
    children: dict[ProcessKey | None, list[Process]] = {}
    for process, parent in zip(rows, _outside_loops(rows), strict=True):
        children.setdefault(parent, []).append(process)
    stack: list[TreeRow] = [TreeRow(root) for root in reversed(children.get(None, []))]
    while stack:
        row = stack.pop()
        yield row
        below = children.get(row.process.key, [])
        steps = [TreeRow(child, (*row.last, child is below[-1])) for child in below]
        stack.extend(reversed(steps))


def _outside_loops(rows: list[Process]) -> Iterator[ProcessKey | None]:
    """The parents' keys; None as well where following them would lead round in a circle."""
    parents = find_parents(rows)
    for process in rows:
        parent = parents[process.key]
        if parent is not None and _leads_back(process, parents):
            parents[process.key] = parent = None
        yield parent.key if parent else None


def _leads_back(process: Process, parents: Parents) -> bool:
    """Only equal start times can make a circle, so few steps are taken."""
    seen, parent = {process.key}, parents[process.key]
    while parent is not None and parent.started_at_ns == process.started_at_ns:
        if parent.key in seen:
            return True
        seen.add(parent.key)
        parent = parents[parent.key]
    return False


def subtree(rows: Iterable[TreeRow], pid: int) -> Iterator[TreeRow]:
    """Of rows in depth-first order, a process and its descendants; the process becomes the root."""
    depth = -1
    for row in rows:
        if depth >= 0 and row.depth <= depth:
            return
        if row.process.key.pid == pid:
            depth = row.depth
        if depth >= 0:
            yield TreeRow(row.process, row.last[depth:])
