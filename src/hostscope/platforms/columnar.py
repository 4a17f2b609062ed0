"""Rows as columns, for analysis with NumPy or Arrow."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from hostscope.model.process import Process
from hostscope.model.text import encode
from hostscope.platforms.base import Columns


class Column(NamedTuple):
    """One column: the group of fields it belongs to (None: always there), and its value in a record."""

    group: str | None
    get: Callable[[Process], Any]


NUMBERS: dict[str, Column] = {
    "pid": Column(None, lambda p: p.key.pid),
    "ppid": Column(None, lambda p: p.ppid),
    "start": Column(None, lambda p: p.key.start),
    "started_at_ns": Column(None, lambda p: p.started_at_ns),
    "uid": Column("owner", lambda p: int(p.ids.user.id) if p.ids else None),
    "euid": Column("owner", lambda p: int(p.ids.effective_user.id) if p.ids else None),
    "gid": Column("owner", lambda p: int(p.ids.group.id) if p.ids else None),
    "egid": Column("owner", lambda p: int(p.ids.effective_group.id) if p.ids else None),
    "session": Column("session", lambda p: p.session.session if p.session else None),
    "group": Column("session", lambda p: p.session.group if p.session else None),
    "threads": Column("threads", lambda p: p.threads),
    "priority": Column("schedule", lambda p: p.schedule.priority if p.schedule else None),
    "nice": Column("schedule", lambda p: p.schedule.nice if p.schedule else None),
    "user_ns": Column("cpu", lambda p: p.cpu.user_ns if p.cpu else None),
    "system_ns": Column("cpu", lambda p: p.cpu.system_ns if p.cpu else None),
    "virtual_bytes": Column("memory", lambda p: p.memory.virtual_bytes if p.memory else None),
    "resident_bytes": Column("memory", lambda p: p.memory.resident_bytes if p.memory else None),
    "shared_bytes": Column("memory", lambda p: p.memory.shared_bytes if p.memory else None),
    "swap_bytes": Column("memory", lambda p: p.memory.swap_bytes if p.memory else None),
    "peak_virtual_bytes": Column("memory", lambda p: p.memory.peak_virtual_bytes if p.memory else None),
    "peak_resident_bytes": Column("memory", lambda p: p.memory.peak_resident_bytes if p.memory else None),
    "read_bytes": Column("io", lambda p: p.io.read_bytes if p.io else None),
    "written_bytes": Column("io", lambda p: p.io.written_bytes if p.io else None),
    "read_call_bytes": Column("io", lambda p: p.io.read_call_bytes if p.io else None),
    "written_call_bytes": Column("io", lambda p: p.io.written_call_bytes if p.io else None),
    "open_files": Column("open_files", lambda p: p.open_files),
    "minor_faults": Column("activity", lambda p: p.activity.minor_faults if p.activity else None),
    "major_faults": Column("activity", lambda p: p.activity.major_faults if p.activity else None),
    "voluntary_switches": Column("activity", lambda p: p.activity.voluntary_switches if p.activity else None),
    "involuntary_switches": Column("activity", lambda p: p.activity.involuntary_switches if p.activity else None),
}
"""Masked int64 columns; what is missing is masked."""

OBJECTS: dict[str, Column] = {
    "name": Column(None, lambda p: p.name),
    "state": Column("state", lambda p: p.state),
    "exe": Column("exe", lambda p: p.exe.path if p.exe else None),
    "argv": Column("argv", lambda p: None if p.argv is None else join_arguments(p.argv)),
}
"""Object columns: `str`, and for argv `bytes`: the arguments, each ended by NUL; None where a value is missing."""


def join_arguments(argv: tuple[str, ...]) -> bytes:
    """The arguments as the kernel keeps them, each ended by NUL."""
    return b"".join(encode(argument) + b"\0" for argument in argv)


def names_of(wanted: frozenset[str]) -> frozenset[str]:
    """Names of the columns that these groups of fields fill."""
    every = NUMBERS | OBJECTS
    return frozenset(name for name, column in every.items() if column.group is None or column.group in wanted)


def columns_of(rows: Iterable[Process], wanted: frozenset[str]) -> Columns:
    """`NUMBERS` and `OBJECTS` of the wanted groups of fields, one array each."""
    import numpy as np

    kept, names = list(rows), names_of(wanted)
    columns: dict[str, Any] = {}
    for name in names & NUMBERS.keys():
        values = [NUMBERS[name].get(process) for process in kept]
        known = np.fromiter((value or 0 for value in values), np.int64, len(kept))
        columns[name] = np.ma.array(known, mask=np.array([value is None for value in values], bool))
    for name in names & OBJECTS.keys():
        columns[name] = object_array([OBJECTS[name].get(process) for process in kept])
    return columns


def object_array(values: list[Any]) -> Any:
    """One element a value, whatever the values are (NumPy would make a table of tuples)."""
    import numpy as np

    column = np.empty(len(values), object)
    column[:] = values
    return column


def merge(columns: Columns, keep: Any, others: Columns) -> Columns:
    """The elements of `columns` that `keep` (bool) marks and all of `others`, in ascending pid order."""
    import numpy as np

    order = np.argsort(np.concatenate([columns["pid"][keep], others["pid"]]), kind="stable")
    joined: Any = np.ma.concatenate  # type: ignore[no-untyped-call, unused-ignore]
    return {
        name: (joined if name in NUMBERS else np.concatenate)([column[keep], others[name]])[order]
        for name, column in columns.items()
    }
