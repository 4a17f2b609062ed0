"""The iterator's records as columns: no object is made for a process. Needs NumPy."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from hostscope.model.text import decode
from hostscope.platforms.base import Columns
from hostscope.platforms.columnar import NUMBERS, names_of, object_array
from hostscope.platforms.linux.clock import PAGE_BYTES, TICK_NS, Boot
from hostscope.platforms.linux.iterator import want_of_columns
from hostscope.platforms.linux.reread import count_threads, count_threads_of, read_name
from hostscope.platforms.linux.task_record import (
    BRIEF_BYTES,
    HEADER_BYTES,
    Flag,
    Want,
    join_path,
    state_name,
)

if TYPE_CHECKING:
    import numpy as np

_BRIEF = (
    "size:u4 flags:u4 argv_size:u4 exe_size:u2 cwd_size:u2 root_size:u2 groups_size:u2 open_files:u4 pid:u4 ppid:u4 "
    "threads:u4 inner_pid:u4 tracer:u4 state:u4 exit_state:u4 task_flags:u4 start:u8 name:S16 "
)
_LAYOUT = _BRIEF + (
    "utime:u8 stime:u8 runtime:u8 "
    "last_utime:u8 last_stime:u8 children_user_ns:u8 children_system_ns:u8 minor_faults:u8 major_faults:u8 "
    "voluntary_switches:u8 involuntary_switches:u8 virtual:u8 peak_virtual:u8 file:u8 anon:u8 swap:u8 shmem:u8 "
    "peak_resident:u8 page_tables:u8 read_call_bytes:u8 written_call_bytes:u8 read_bytes:u8 written_bytes:u8 serial:u8 "
    "uid:u4 gid:u4 suid:u4 sgid:u4 euid:u4 egid:u4 fsuid:u4 fsgid:u4 inheritable:u8 permitted:u8 effective:u8 "
    "bounding:u8 ambient:u8 no_new_privs:u4 seccomp:u4 login_uid:u4 audit_session:u4 ns_cgroup:u4 ns_ipc:u4 ns_mnt:u4 "
    "ns_net:u4 ns_pid:u4 ns_time:u4 ns_user:u4 ns_uts:u4 css_set:u8 cgroup:u8 dumpable:u4 oom_score_adj:i4 policy:u4 "
    "priority:i4 static_priority:i4 realtime_priority:u4 session:u4 group:u4 tty:u4 unused:u4 exe_inode:u8 "
    "exe_device:u4 exe_flags:u4"
)
"""Every field of struct record (bpf/record.h), with its NumPy type; and those of a brief one."""

AS_THEY_ARE = (
    "pid", "ppid", "uid", "euid", "gid", "egid", "session", "group", "threads", "minor_faults", "major_faults",
    "voluntary_switches", "involuntary_switches", "open_files", "read_bytes", "written_bytes", "read_call_bytes",
    "written_call_bytes",
)  # fmt: skip
"""Columns that are record fields, in the record's own units."""


class TaskColumns(NamedTuple):
    """One pass of a `TaskIterator`."""

    columns: Columns
    """As `columnar.columns_of` makes them."""
    whole: "np.ndarray[Any, Any]"
    """False where /proc knows more: long or rewritten arguments, deleted executables, processes that changed while
    they were read."""
    threads: int
    """Of all processes."""


def task_columns(chunks: Iterable[bytes], boot: Boot, wanted: frozenset[str]) -> TaskColumns:
    """The columns of the wanted groups of fields, in ascending pid order; no object is made for a process.

    Raises:
        ModuleNotFoundError: NumPy is not installed.
        ValueError: the records are cut short.
    """
    import numpy as np

    brief = Want.BRIEF in want_of_columns(wanted)
    data = b"".join(chunks)
    places = find_records(data, BRIEF_BYTES if brief else HEADER_BYTES)
    rows = _headers(data, places, _BRIEF if brief else _LAYOUT)
    names = names_of(wanted)
    made = {name: rows[name].astype(np.int64) for name in AS_THEY_ARE if name in names}
    made |= _starts(rows, boot) | ({} if brief else _times(rows)) | (_memory(rows) if "memory" in wanted else {})
    no_image = rows["flags"] & int(Flag.NO_MM) != 0
    columns: dict[str, Any] = {
        name: np.ma.array(column, mask=no_image if NUMBERS[name].group == "memory" else np.zeros(len(rows), bool))
        for name, column in made.items()
        if name in names
    }
    columns |= _texts(data, places, rows, no_image, names)
    return TaskColumns(columns, rows["flags"] & _NOT_WHOLE == 0, int(rows["threads"].sum()))


def _headers(data: bytes, places: list[int], layout: str) -> "np.ndarray[Any, Any]":
    """One row each. Gathered by words, as NumPy copies rows of many fields field by field."""
    import numpy as np

    kind = np.dtype([tuple(field.split(":")) for field in layout.split()])
    words = np.frombuffer(data, np.uint64)
    first = np.array(places, np.int64) // 8
    gathered: np.ndarray[Any, Any] = words[first[:, None] + np.arange(kind.itemsize // 8)].view(kind)[:, 0]
    return gathered


def _texts(
    data: bytes,
    places: list[int],
    rows: "np.ndarray[Any, Any]",
    no_image: "np.ndarray[Any, Any]",
    names: frozenset[str],
) -> dict[str, Any]:
    import numpy as np

    columns: dict[str, Any] = {"name": _names(rows)}
    argv_at = np.array(places, np.int64) + rows.itemsize
    argv_end = argv_at + rows["argv_size"]
    exe_at = argv_end + 7 & -8
    if "state" in names:
        columns["state"] = _states(rows)
    if "exe" in names:
        columns["exe"] = _paths(_slices(data, exe_at, exe_at + rows["exe_size"]))
    if "argv" in names:
        columns["argv"] = object_array(_slices(data, argv_at, argv_end))
        columns["argv"][no_image] = None
    return columns


def _slices(data: bytes, begin: "np.ndarray[Any, Any]", end: "np.ndarray[Any, Any]") -> list[bytes]:
    return [data[first:last] for first, last in zip(begin.tolist(), end.tolist(), strict=True)]


def _names(rows: "np.ndarray[Any, Any]") -> Any:
    """The few that are longer than the record has room for are read from /proc, if their process is still there."""
    import numpy as np

    column = object_array([name.decode("ascii") if name.isascii() else decode(name) for name in rows["name"].tolist()])
    for place in np.flatnonzero(rows["flags"] & int(Flag.NAME_ELSEWHERE)).tolist():
        column[place] = read_name(int(rows["pid"][place])) or column[place]
    return column


_NOT_WHOLE = int(
    Flag.ARGV_CUT | Flag.ARGV_OVERWRITTEN | Flag.ARGV_UNREAD | Flag.EXE_CUT | Flag.EXE_UNLINKED | Flag.EXE_NAMELESS
    | Flag.THREADS_CUT | Flag.MM_CHANGED | Flag.FDS_CUT | Flag.NO_IO
)  # fmt: skip


def find_records(data: bytes, header: int) -> list[int]:
    """Where the records begin whose headers have `header` bytes. Pure.

    Raises:
        ValueError: a record is shorter than its header, not aligned or longer than the data.
    """
    places: list[int] = []
    found, end = places.append, len(data)
    words = memoryview(data)[: end & -4].cast("I")
    at, last = 0, end - header
    while at <= last:
        found(at)
        size = words[at >> 2]
        if size < header or size & 7:
            break
        at += size
    if at != end:
        raise ValueError("records of the iterator are cut short")
    return places


def _starts(rows: "np.ndarray[Any, Any]", boot: Boot) -> dict[str, Any]:
    import numpy as np

    start = (rows["start"] // TICK_NS).astype(np.int64)
    return {"start": start, "started_at_ns": boot.at_ns + start * TICK_NS}


def _times(rows: "np.ndarray[Any, Any]") -> dict[str, Any]:
    """The exact run time divided as `task_record.split_runtime` does, and how the main thread is scheduled."""
    import numpy as np

    user, system, runtime = (rows[name].astype(np.float64) for name in ("utime", "stime", "runtime"))
    share = np.divide(system, system + user, out=np.zeros(len(rows)), where=system > 0)
    last_user, last_system = rows["last_utime"].astype(np.int64), rows["last_stime"].astype(np.int64)
    total = rows["runtime"].astype(np.int64)
    divided = np.minimum(np.maximum((share * runtime).astype(np.int64), last_system), total - last_user)
    unchanged = last_user + last_system >= total
    return {
        "user_ns": np.where(unchanged, last_user, total - divided),
        "system_ns": np.where(unchanged, last_system, divided),
        "priority": rows["priority"].astype(np.int64) - 100,
        "nice": rows["static_priority"].astype(np.int64) - 120,
    }


def _memory(rows: "np.ndarray[Any, Any]") -> dict[str, Any]:
    import numpy as np

    resident = rows["file"] + rows["anon"] + rows["shmem"]
    pages = {
        "virtual_bytes": rows["virtual"],
        "resident_bytes": resident,
        "shared_bytes": rows["file"] + rows["shmem"],
        "swap_bytes": rows["swap"],
        "peak_virtual_bytes": np.maximum(rows["peak_virtual"], rows["virtual"]),
        "peak_resident_bytes": np.maximum(rows["peak_resident"], resident),
    }
    return {name: column.astype(np.int64) * PAGE_BYTES for name, column in pages.items()}


def _states(rows: "np.ndarray[Any, Any]") -> Any:
    import numpy as np

    pairs, places = np.unique(rows["state"].astype(np.uint64) << 32 | rows["exit_state"], return_inverse=True)
    names = [state_name(int(pair) >> 32, int(pair) & 0xFFFF_FFFF) for pair in pairs]
    return object_array(names or [""])[places]


def _paths(raw: list[bytes]) -> Any:
    """Executables; each distinct path is decoded once."""
    known: dict[bytes, str | None] = {path: decode(join_path(path)) for path in set(raw)}
    known[b""] = None
    return object_array(list(map(known.__getitem__, raw)))


def left_out(pids: "np.ndarray[Any, Any]", threads: int) -> list[int]:
    """Pids that /proc lists and the iterator did not give; the list is only read when threads are missing."""
    first = [] if len(pids) and pids[0] == 1 else [1]
    if threads + sum(map(count_threads_of, first)) == count_threads():
        return first
    listed = frozenset(os.listdir("/proc"))
    return sorted(int(name) for name in listed.difference(map(str, pids.tolist())) if name.isdecimal())
