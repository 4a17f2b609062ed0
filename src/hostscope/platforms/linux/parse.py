"""The text of /proc/PID, parsed. Pure: bytes in, fields out; anything malformed is a `ValueError`."""

import re

from msgspec import Struct

from hostscope.model.text import decode

STATES = {
    "R": "running", "S": "sleeping", "D": "disk-sleep", "T": "stopped", "t": "tracing-stop",
    "X": "dead", "x": "dead", "Z": "zombie", "P": "parked", "I": "idle", "K": "disk-sleep", "W": "sleeping",
}  # fmt: skip
"""State letters of proc_pid_stat(5). K (wakekill) and W (waking) were shown by kernels before 4.14 only."""

POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}
"""SCHED_* numbers of sched(7)."""

SECCOMP = {0: "disabled", 1: "strict", 2: "filter"}

PF_KTHREAD = 0x0020_0000
"""include/linux/sched.h; stable since 2.6.27 and the only mark that /proc has had on all kernels."""

PF_EXITING = 0x0000_0004
"""The main thread is ending, or has ended: it has given up its address space, files and namespaces, or is about to."""

NO_ID = 0xFFFF_FFFF
"""(uid_t)-1: loginuid and sessionid of processes that nobody logged in."""


class Stat(Struct, gc=False):
    """/proc/PID/stat, the fields that records use; times in clock ticks, sizes in the file's own units."""

    pid: int
    name: bytes
    state: str
    ppid: int
    group: int
    session: int
    tty: int
    flags: int
    minor_faults: int
    major_faults: int
    user_ticks: int
    system_ticks: int
    children_user_ticks: int
    children_system_ticks: int
    priority: int
    nice: int
    threads: int
    start: int
    virtual_bytes: int
    resident_pages: int
    last_cpu: int
    realtime_priority: int
    policy: int


def parse_stat(raw: bytes) -> Stat:
    """Source: proc_pid_stat(5). The name may hold spaces, newlines and parentheses; the last one closes it."""
    opening, closing = raw.index(b"("), raw.rindex(b")")
    f = raw[closing + 2 :].split()
    if len(f) < 39:
        raise ValueError("stat is cut short")
    return Stat(
        int(raw[:opening]),
        raw[opening + 1 : closing],
        STATES.get(f[0].decode("ascii", "replace"), "unknown"),
        int(f[1]), int(f[2]), int(f[3]), int(f[4]), int(f[6]),
        int(f[7]), int(f[9]), int(f[11]), int(f[12]), int(f[13]), int(f[14]),
        int(f[15]), int(f[16]), int(f[17]), int(f[19]), int(f[20]), int(f[21]),
        int(f[36]), int(f[37]), int(f[38]),
    )  # fmt: skip


class Status(Struct, gc=False):
    """/proc/PID/status, cut into the slices that records are made of."""

    tracer: int
    ids: bytes
    """The Uid and Gid lines."""
    groups: bytes
    """Supplementary group ids, blank separated."""
    inner_pid: int | None
    """Last number of NStgid when there are several: the pid in the process's own namespace."""
    memory: tuple[int, int, int, int, int] | None
    """Bytes: peak virtual, peak resident, resident, shared (file and shmem), swap; None without an address space."""
    security: bytes
    """From CapInh through Seccomp."""
    voluntary_switches: int
    involuntary_switches: int


def parse_status(raw: bytes) -> Status:
    """Source: proc_pid_status(5); field order as in fs/proc/array.c, stable since 4.10."""
    at = raw.index
    tracer = at(b"\nTracerPid:") + 11
    ids = at(b"\nUid:", tracer) + 1
    ids_end = at(b"\nFDSize:", ids)
    groups = at(b"\nGroups:", ids_end) + 8
    groups_end = at(b"\n", groups)
    inner = at(b"\nNStgid:", groups_end) + 8
    security = at(b"\nCapInh:", inner) + 1
    switches = at(b"\nvoluntary_ctxt_switches:", security) + 25
    involuntary = at(b"\nnonvoluntary_ctxt_switches:", switches)
    # Linux 6.6 may add lines of the architecture below this one (x86_Thread_features).
    involuntary_end = at(b"\n", involuntary + 28)
    pids = raw[inner : at(b"\n", inner)].split()
    return Status(
        int(raw[tracer : ids - 1]),
        raw[ids:ids_end],
        raw[groups:groups_end],
        int(pids[-1]) if len(pids) > 1 else None,
        _parse_memory(raw, inner, security),
        raw[security : _security_end(raw, security, switches)],
        int(raw[switches:involuntary]),
        int(raw[involuntary + 28 : involuntary_end]),
    )


def parse_tgid(raw: bytes) -> int:
    """The process that a thread belongs to, of /proc/TID/status."""
    return _number(raw, b"\nTgid:")


def parse_tracer(raw: bytes) -> int:
    """The process that traces it, of /proc/PID/status; 0 when none does."""
    return _number(raw, b"\nTracerPid:")


def _number(raw: bytes, name: bytes) -> int:
    """Of a line; of what may stand in a name the kernel escapes the line feed alone."""
    start = raw.index(name) + len(name)
    return int(raw[start : raw.index(b"\n", start)])


def _security_end(raw: bytes, start: int, limit: int) -> int:
    """The Seccomp line is missing from kernels built without it."""
    seccomp = raw.find(b"\nSeccomp:", start, limit)
    return raw.index(b"\n", seccomp + 1 if seccomp >= 0 else raw.index(b"\nNoNewPrivs:", start) + 1)


_MEMORY = re.compile(
    rb"\nVmPeak:\s*(\d+) kB\n(?:[^\n]*\n){3}VmHWM:\s*(\d+) kB\nVmRSS:\s*(\d+) kB\n[^\n]*"
    rb"\nRssFile:\s*(\d+) kB\nRssShmem:\s*(\d+) kB\n(?:[^\n]*\n){5,6}VmSwap:\s*(\d+) kB"
)
"""The lines as kernels from 4.5 on have ordered them; a third faster than looking for each."""


def _parse_memory(raw: bytes, start: int, end: int) -> tuple[int, int, int, int, int] | None:
    # VmRSS sums per-CPU counters exactly since Linux 6.16, unlike the rss field of /proc/PID/stat.
    usual = _MEMORY.search(raw, start, end)
    if usual:
        peak, highest, resident, file, shmem, swap = map(int, usual.groups())
        return peak << 10, highest << 10, resident << 10, file + shmem << 10, swap << 10
    return _find_memory(raw, start, end)


def _find_memory(raw: bytes, start: int, end: int) -> tuple[int, int, int, int, int] | None:
    peak = raw.find(b"\nVmPeak:", start, end)
    if peak < 0:
        return None
    highest = raw.index(b"\nVmHWM:", peak, end)
    resident = raw.index(b"\nVmRSS:", highest, end)
    file = raw.index(b"\nRssFile:", resident, end)
    shmem = raw.index(b"\nRssShmem:", file, end)
    swap = raw.index(b"\nVmSwap:", shmem, end)
    return (
        _kib(raw, peak + 8),
        _kib(raw, highest + 7),
        _kib(raw, resident + 7),
        _kib(raw, file + 9) + _kib(raw, shmem + 10),
        _kib(raw, swap + 8),
    )


def _kib(raw: bytes, start: int) -> int:
    return int(raw[start : raw.index(b" kB", start)]) << 10


class Credentials(Struct, frozen=True):
    """Four user and four group ids: real, effective, saved, file system."""

    uids: tuple[int, int, int, int]
    gids: tuple[int, int, int, int]


def parse_ids(lines: bytes) -> Credentials:
    """`Status.ids`."""
    uid, gid = lines.split(b"\n")
    return Credentials(_four(uid), _four(gid))


def _four(line: bytes) -> tuple[int, int, int, int]:
    real, effective, saved, fs = (int(x) for x in line[4:].split())
    return real, effective, saved, fs


class _Lines(dict[bytes, bytes]):
    """Values by name; a line that is not there is malformed text like any other."""

    def __missing__(self, name: bytes) -> bytes:
        raise ValueError(f"no line {name.decode()}")


class SecurityLines(Struct, frozen=True):
    """Capability masks and what limits them."""

    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int
    no_new_privs: bool
    seccomp: str | None
    """None when the kernel was built without seccomp."""


def parse_security(lines: bytes) -> SecurityLines:
    """`Status.security`."""
    values = _Lines(line.split(b":", 1) for line in lines.split(b"\n"))
    mask = [int(values[name], 16) for name in (b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb")]
    seccomp = values.get(b"Seccomp")
    return SecurityLines(
        mask[0], mask[1], mask[2], mask[3], mask[4],
        int(values[b"NoNewPrivs"]) != 0,
        None if seccomp is None else SECCOMP.get(int(seccomp), f"mode {int(seccomp)}"),
    )  # fmt: skip


def parse_cmdline(raw: bytes) -> tuple[str, ...]:
    """/proc/PID/cmdline: NUL-terminated arguments.

    A process that rewrote its arguments (setproctitle) may leave no final NUL; the text is then one argument, or
    several as far as NULs go.
    """
    return tuple(decode(raw.removesuffix(b"\0")).split("\0")) if raw else ()


def parse_io(raw: bytes) -> tuple[int, int, int, int]:
    """/proc/PID/io: rchar, wchar, read_bytes, write_bytes. Source: proc_pid_io(5)."""
    values = _Lines(line.split(b": ") for line in raw.splitlines())
    return int(values[b"rchar"]), int(values[b"wchar"]), int(values[b"read_bytes"]), int(values[b"write_bytes"])


def parse_rollup(raw: bytes) -> tuple[int, int]:
    """/proc/PID/smaps_rollup (4.14): bytes of proportional (PSS) and unique (USS) memory."""
    values = _Lines(line.partition(b":")[::2] for line in raw.splitlines())
    pss, clean, dirty = (int(values[name].removesuffix(b"kB")) for name in (b"Pss", b"Private_Clean", b"Private_Dirty"))
    huge = int(values.get(b"Private_Hugetlb", b"0").removesuffix(b"kB"))
    return pss << 10, (clean + dirty + huge) << 10


INITIAL_PID_NS = 0xEFFF_FFFC
INITIAL_USER_NS = 0xEFFF_FFFD
INITIAL_CGROUP_NS = 0xEFFF_FFFB
INITIAL_TIME_NS = 0xEFFF_FFFA
"""Inodes of the host's own namespaces, the same on every kernel that has them (include/linux/proc_ns.h, 3.8)."""


def parse_namespace(link: str) -> int:
    """``net:[4026531840]`` -> the inode."""
    opening = link.index(":[")
    return int(link[opening + 2 : link.index("]", opening)])
