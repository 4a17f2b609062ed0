"""One process as `bpf/tasks.bpf.c` writes it: the layout of bpf/record.h, and what follows from it. Pure.

A record is a header of `HEADER_BYTES`, then argv, exe, cwd, root and groups, each padded to eight bytes with zeroes.
"""

import struct
from collections.abc import Iterator
from enum import IntFlag
from typing import NamedTuple

from hostscope.errors import Unavailable

HEADER_BYTES = 464
BRIEF_BYTES = 80
"""Of a header with `Want.BRIEF`: everything up to the name."""


class Want(IntFlag):
    """What a program reads (constant `want`): the rest costs nothing and is 0 in the record."""

    ARGV = 1
    EXE = 2
    CWD = 4
    ROOT = 8
    GROUPS = 16
    THREADS = 32
    """Processor time, faults, context switches, I/O."""
    MEMORY = 64
    FDS = 128
    IDS = 256
    SECURITY = 512
    """Capabilities, no_new_privs, seccomp, login user, tracer, dumpable, oom_score_adj."""
    NAMESPACES = 1024
    CGROUP = 2048
    SESSION = 4096
    SCHEDULE = 8192
    BRIEF = 16384
    """Headers end with the name: less to copy where nothing else is asked for."""


class Flag(IntFlag):
    """What is to be known about a record; see bpf/record.h."""

    ARGV_CUT = 1
    ARGV_OVERWRITTEN = 2
    ARGV_UNREAD = 4
    EXE_CUT = 8
    CWD_CUT = 16
    ROOT_CUT = 32
    GROUPS_CUT = 64
    THREADS_CUT = 128
    FDS_CUT = 256
    NAME_ELSEWHERE = 512
    EXE_UNLINKED = 1024
    CWD_UNLINKED = 2048
    ROOT_UNLINKED = 4096
    EXE_NAMELESS = 8192
    NO_MM = 16384
    NO_FS = 32768
    MM_CHANGED = 65536
    NO_NAMESPACES = 131072
    NO_IO = 262144
    NO_EXE = 524288
    OOM_EXEMPT = 1048576


HEADER = struct.Struct("<3I8sI5I12sQ16s7Q32s64s32sQ144s16s16sQII")
"""In the order of struct record. What recurs comes as slices, equal slices mean equal things: sizes, `state`, activity,
memory, I/O, `context`, schedule, session."""

SIZES = struct.Struct("<4H")
"""Bytes of exe, cwd, root and groups."""

PID, PID_AT = struct.Struct("<I"), 24
"""Where the pid of a record is."""

RECORD_BYTES = struct.Struct("<I")
"""At the beginning of a record: how long it is."""

CONTEXT = struct.Struct("<8I5Q4I8I2QIi")
"""The context slice."""

ACTIVITY, IO = struct.Struct("<4Q"), struct.Struct("<4Q")
"""Minor and major faults, voluntary and involuntary switches. Bytes of read and write calls, then of storage."""

MEMORY = struct.Struct("<8Q")
"""Pages: virtual, its peak, files, anonymous, swap, shared, peak resident; then bytes of page tables."""

SESSION = struct.Struct("<3I4x")
"""Session, group, terminal."""

NO_ANSWER = 0xFFFF_FFFF


def record_pids(chunk: bytes) -> Iterator[int]:
    """The pids in a chunk of whole records.

    Raises:
        Unavailable: they are not whole.
    """
    at = 0
    while at < len(chunk):
        size = RECORD_BYTES.unpack_from(chunk, at)[0] if len(chunk) - at >= HEADER_BYTES else 0
        if size < HEADER_BYTES:
            raise Unavailable("the iterator's records make no sense")
        yield PID.unpack_from(chunk, at + PID_AT)[0]
        at += size


_STATE = struct.Struct("<3I")
_SCHEDULE = struct.Struct("<IiiI")
_SECOND_NS = 1_000_000_000

STATE_NAMES = (
    "running", "sleeping", "disk-sleep", "stopped", "tracing-stop", "dead", "zombie", "parked", "idle",
)  # fmt: skip
"""In the order of the letters of task_index_to_char(), include/linux/sched.h."""

_REPORTED, _IDLE, _DISK_SLEEP = 0x7F, 0x402, 0x2
_RTLOCK_WAIT, _FROZEN = 0x1000, 0x8000


class Facts(NamedTuple):
    """The context slice, taken apart."""

    uids: tuple[int, int, int, int]
    """Real, effective, saved, file system."""
    gids: tuple[int, int, int, int]
    capabilities: tuple[int, ...]
    """Inheritable, permitted, effective, bounding, ambient."""
    no_new_privs: bool
    seccomp: int
    login_uid: int
    audit_session: int
    namespaces: tuple[int, ...]
    """cgroup, ipc, mnt, net, pid, time, user, uts; 0 for one that the process has left or the kernel lacks."""
    css_set: int
    dumpable: int
    oom_score_adj: int


def parse_context(raw: bytes) -> Facts:
    """The context slice of a record."""
    f = CONTEXT.unpack(raw)
    return Facts(
        (f[0], f[4], f[2], f[6]), (f[1], f[5], f[3], f[7]), f[8:13], bool(f[13]), f[14], f[15], f[16], f[17:25], f[25],
        f[27], f[28],
    )  # fmt: skip


def state_name(state: int, exit_state: int) -> str:
    """Task state bits as /proc/PID/stat shows them. Source: __task_state_index(), include/linux/sched.h."""
    shown = (state | exit_state) & _REPORTED
    if state & _IDLE == _IDLE:
        shown = _REPORTED + 1
    if state & (_RTLOCK_WAIT | _FROZEN):
        shown = _DISK_SLEEP
    return STATE_NAMES[shown.bit_length()]


def parse_state(raw: bytes) -> tuple[str, int]:
    """The state slice of a record: the state's name, and the PF_ flags."""
    state, exit_state, flags = _STATE.unpack(raw)
    return state_name(state, exit_state), flags


def parse_schedule(raw: bytes) -> tuple[int, int, int, int]:
    """The schedule slice: policy, priority and nice value as in /proc/PID/stat, real-time priority."""
    policy, priority, static_priority, realtime = _SCHEDULE.unpack(raw)
    return policy, priority - 100, static_priority - 120, realtime


def split_runtime(user: int, system: int, runtime: int, last_user: int, last_system: int) -> tuple[int, int]:
    """User and system time in ns, as /proc shows them: the exact run time, divided as the sampled times are.

    `last_user` and `last_system` are what the kernel showed last; neither may go backwards.

    Source: cputime_adjust(), kernel/sched/cputime.c.
    """
    if last_user + last_system >= runtime:
        return last_user, last_system
    if not system:
        system = 0
    elif not user:
        system = runtime
    else:
        system = min(system * runtime // (system + user), runtime)
    system = max(system, last_system)
    user = runtime - system
    return (last_user, runtime - last_user) if user < last_user else (user, system)


def join_path(raw: bytes) -> bytes:
    """A path from its names, leaf first, each with its NUL; nothing is the root."""
    names = raw.split(b"\0")
    names.reverse()
    return b"/".join(names) if raw else b"/"


def oom_score(adjustment: int, pages: int, total_pages: int) -> int:
    """What /proc/PID/oom_score shows for a process that may be killed, within 1.

    `pages` are resident, swapped and page table pages; `total_pages` memory and swap of the host.

    Source: oom_badness() and proc_oom_score(), since 5.9.
    """
    if adjustment == -1000 or not total_pages:
        return 0
    badness = pages + adjustment * (total_pages // 1000)
    scaled = badness * 1000
    share = scaled // total_pages if scaled >= 0 else -(-scaled // total_pages)
    return (1000 + share) * 2 // 3
