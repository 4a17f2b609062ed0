"""Rows as columns, for analysis with NumPy or Arrow."""

from collections.abc import Callable, Iterable
from typing import Any

from hostscope.model.process import Process
from hostscope.platforms.base import Columns

INTEGERS: dict[str, Callable[[Process], int | None]] = {
    "pid": lambda p: p.key.pid,
    "ppid": lambda p: p.ppid,
    "start": lambda p: p.key.start,
    "started_at_ns": lambda p: p.started_at_ns,
    "uid": lambda p: int(p.ids.user.id) if p.ids else None,
    "euid": lambda p: int(p.ids.effective_user.id) if p.ids else None,
    "gid": lambda p: int(p.ids.group.id) if p.ids else None,
    "egid": lambda p: int(p.ids.effective_group.id) if p.ids else None,
    "threads": lambda p: p.threads,
    "user_ns": lambda p: p.cpu.user_ns if p.cpu else None,
    "system_ns": lambda p: p.cpu.system_ns if p.cpu else None,
    "virtual_bytes": lambda p: p.memory.virtual_bytes if p.memory else None,
    "resident_bytes": lambda p: p.memory.resident_bytes if p.memory else None,
    "shared_bytes": lambda p: p.memory.shared_bytes if p.memory else None,
    "swap_bytes": lambda p: p.memory.swap_bytes if p.memory else None,
    "read_bytes": lambda p: p.io.read_bytes if p.io else None,
    "written_bytes": lambda p: p.io.written_bytes if p.io else None,
    "minor_faults": lambda p: p.activity.minor_faults if p.activity else None,
    "major_faults": lambda p: p.activity.major_faults if p.activity else None,
}
"""Integer columns by name; a missing value is masked."""

TEXTS: dict[str, Callable[[Process], Any]] = {
    "name": lambda p: p.name,
    "state": lambda p: p.state,
    "exe": lambda p: p.exe.path if p.exe else None,
    "argv": lambda p: p.argv,
}
"""Object columns: `str`, or for argv a tuple of them; None stays None."""


def columns_of(rows: Iterable[Process]) -> Columns:
    """One NumPy array per column: masked int64 for numbers, object for text.

    Raises:
        ModuleNotFoundError: NumPy is not installed (``pip install 'hostscope[arrow]'``).
    """
    import numpy as np

    kept = list(rows)
    columns: dict[str, Any] = {}
    for name, get in INTEGERS.items():
        values = [get(process) for process in kept]
        known = np.fromiter((value or 0 for value in values), np.int64, len(kept))
        columns[name] = np.ma.array(known, mask=[value is None for value in values])
    for name, get_text in TEXTS.items():
        column = np.empty(len(kept), object)
        column[:] = [get_text(process) for process in kept]
        columns[name] = column
    return columns
