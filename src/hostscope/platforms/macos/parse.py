"""What the kernel answers about processes, in bytes, parsed. Pure, and tested on every system.

Layouts stand with their names in ``native``; a test compares each place here with them.
"""

from struct import Struct as Layout
from struct import calcsize

from msgspec import Struct

from hostscope.model.text import decode

Places = tuple[tuple[int, str], ...]
STATES = {1: "idle", 2: "running", 3: "sleeping", 4: "stopped", 5: "zombie"}
CPU_TYPES = {7: "i386", 0x0100_0007: "x86_64", 0x0100_000C: "arm64", 0x0200_000C: "arm64_32"}
_ARM64E = 2
MOST_GROUPS = 16
NO_DEVICE = 0xFFFF_FFFF
MOST_STRINGS = 1 << 16


def layout(size: int, places: Places) -> Layout:
    """A format with a value at each place, skipping what lies between them."""
    text, at = "<", 0
    for offset, code in places:
        text += f"{offset - at}x{code}" if offset > at else code
        at = offset + calcsize("<" + code)
    return Layout(text + f"{size - at}x")


KINFO_BYTES = 648
KINFO_PLACES: Places = (
    (0, "q"), (8, "i"), (32, "i"), (36, "b"), (40, "i"), (242, "b"), (243, "17s"), (392, "I"), (396, "I"), (400, "I"),
    (404, "I"), (420, "I"), (424, "h"), (428, "16I"), (560, "i"), (564, "i"), (572, "I"), (576, "i"), (616, "12s"),
)  # fmt: skip
_KINFO = layout(KINFO_BYTES, KINFO_PLACES)
TASK_BYTES = 232
_TASK = Layout("<11I4x16s32s5Ii2Q6Q12i")
VNODE_PATH_BYTES, VNODE_PATH_AT, VNODE_INODE_AT = 1176, 152, 8
USAGE_V2_BYTES, USAGE_V4_BYTES, USAGE_V6_BYTES = 160, 296, 464


class Listed(Struct, frozen=True, gc=False):
    """One entry of the kernel's process table. Source: struct kinfo_proc."""

    pid: int
    ppid: int
    name: str
    """At most 16 bytes."""
    start_us: int
    """UTC since the epoch."""
    status: int
    """SIDL SRUN SSLEEP SSTOP SZOMB: one that lives is SRUN, whether it runs or waits."""
    flags: int
    """P_…"""
    nice: int
    uid: int
    """Effective."""
    ruid: int
    svuid: int
    gid: int
    """Effective."""
    rgid: int
    svgid: int
    groups: tuple[int, ...]
    """At most sixteen, the effective one first; a directory may give the user more."""
    pgid: int
    terminal: int | None
    """Device number."""
    login: str
    """Who logged in to this session; empty for daemons."""


def parse_processes(raw: bytes) -> list[Listed]:
    """The answer of sysctl KERN_PROC: whole entries only."""
    return [_listed(fields) for fields in _KINFO.iter_unpack(raw[: len(raw) - len(raw) % KINFO_BYTES])]


def _listed(fields: tuple) -> Listed:  # type: ignore[type-arg]
    seconds, micros, flags, status, pid, nice, name, ruid, svuid, rgid, svgid, uid, count, *rest = fields
    groups = tuple(rest[: max(0, min(count, MOST_GROUPS))])
    ppid, pgid, device, _, login = rest[MOST_GROUPS:]
    return Listed(
        pid,
        ppid,
        parse_text(name),
        seconds * 1_000_000 + micros,
        status,
        flags,
        nice,
        uid,
        ruid,
        svuid,
        groups[0] if groups else rgid,
        rgid,
        svgid,
        groups,
        pgid,
        _device(device),
        parse_text(login),
    )


class Task(Struct, frozen=True, gc=False):
    """One process asked for by itself. Source: struct proc_taskallinfo."""

    pid: int
    ppid: int
    name: str
    start_us: int
    status: int
    flags: int
    """PROC_FLAG_…, not P_…"""
    nice: int
    uid: int
    ruid: int
    svuid: int
    gid: int
    rgid: int
    svgid: int
    pgid: int
    terminal: int | None
    virtual_bytes: int
    resident_bytes: int
    user_time: int
    """In units of the Mach clock."""
    system_time: int
    policy: int
    faults: int
    pageins: int
    switches: int
    threads: int
    running: int
    """Threads that run or could."""
    priority: int


def parse_task(raw: bytes) -> Task:
    """The answer of PROC_PIDTASKALLINFO.

    Raises:
        ValueError: it has another size.
    """
    if len(raw) != TASK_BYTES:
        raise ValueError(f"{len(raw)} bytes of task information instead of {TASK_BYTES}")
    (
        flags, status, _, pid, ppid, uid, gid, ruid, rgid, svuid, svgid, comm, name, _, pgid, _, device, _, nice,
        seconds, micros, virtual, resident, user, system, _, _, policy, faults, pageins, _, _, _, _, _, switches,
        threads, running, priority,
    ) = _TASK.unpack(raw)  # fmt: skip
    return Task(
        pid,
        ppid,
        parse_text(name) or parse_text(comm),
        seconds * 1_000_000 + micros,
        status,
        flags,
        nice,
        uid,
        ruid,
        svuid,
        gid,
        rgid,
        svgid,
        pgid,
        _device(device),
        virtual,
        resident,
        user,
        system,
        policy,
        faults & 0xFFFF_FFFF,
        pageins & 0xFFFF_FFFF,
        switches & 0xFFFF_FFFF,
        threads,
        running,
        priority,
    )


START_PLACES: Places = ((120, "Q"), (128, "Q"))
_START = layout(TASK_BYTES, START_PLACES)


def parse_start(raw: bytes) -> int:
    """The start in microseconds of the same answer, and nothing else of it."""
    seconds, micros = _START.unpack(raw)
    return int(seconds * 1_000_000 + micros)


class Usage(Struct, frozen=True, gc=False):
    """What the system charges a process for. Source: struct rusage_info."""

    footprint_bytes: int
    child_user_time: int
    """In units of the Mach clock."""
    child_system_time: int
    read_bytes: int
    written_bytes: int
    billed_energy_nj: int | None
    """macOS 10.12: with what others did for it."""
    energy_nj: int | None
    """macOS 13."""


USAGE_PLACES: Places = ((72, "Q"), (96, "Q"), (104, "Q"), (144, "Q"), (152, "Q"))
USAGE_V4_PLACES: Places = ((264, "Q"),)
USAGE_V6_PLACES: Places = ((336, "Q"),)
_V2 = layout(USAGE_V2_BYTES, USAGE_PLACES)
_V4 = layout(USAGE_V4_BYTES, USAGE_V4_PLACES)
_V6 = layout(USAGE_V6_BYTES, USAGE_V6_PLACES)


def parse_usage(raw: bytes) -> Usage:
    """The answer of proc_pid_rusage, whichever layout its size tells.

    Raises:
        ValueError: no layout has that size.
    """
    if len(raw) not in (USAGE_V2_BYTES, USAGE_V4_BYTES, USAGE_V6_BYTES):
        raise ValueError(f"{len(raw)} bytes of resource usage")
    billed = _V4.unpack_from(raw)[0] if len(raw) >= USAGE_V4_BYTES else None
    energy = _V6.unpack_from(raw)[0] if len(raw) >= USAGE_V6_BYTES else None
    footprint, user, system, read, written = _V2.unpack_from(raw)
    return Usage(footprint, user, system, read, written, billed, energy)


class Arguments(Struct, frozen=True, gc=False):
    """What a program was started with. Source: sysctl KERN_PROCARGS2."""

    argv: tuple[str, ...]
    environment: tuple[str, ...]
    """``NAME=value``; empty too when the kernel leaves it out (of restricted processes)."""
    whole: bool
    """All arguments are there: the buffer was cut off otherwise."""


def parse_arguments(raw: bytes) -> Arguments:
    """Number of arguments, path, padding, arguments, environment, each ended by NUL.

    The padding after the path is NULs, so empty arguments before the first other one cannot be told from it: they
    are then missing, and as many strings of the environment are taken for arguments. No system program is called so.

    Raises:
        ValueError: not even the number of arguments is there.
    """
    if len(raw) < 4:
        raise ValueError(f"{len(raw)} bytes of arguments")
    count = int.from_bytes(raw[:4], "little", signed=True)
    rest = raw[4:].partition(b"\0")[2].lstrip(b"\0")
    strings = decode(rest).split("\0", MOST_STRINGS)  # NUL is never part of another character
    complete, count = strings[:-1], max(0, count)
    argv, others = strings[:count], complete[count:]
    end = others.index("") if "" in others else len(others)
    whole = count <= len(complete)
    if not whole and argv and not argv[-1]:
        argv = argv[:-1]
    return Arguments(tuple(argv), tuple(others[:end]), whole)


def parse_path(raw: bytes, index: int = 0) -> str:
    """The path in an array of struct vnode_info_path; empty when there is none."""
    start = index * VNODE_PATH_BYTES + VNODE_PATH_AT
    return parse_text(raw[start : (index + 1) * VNODE_PATH_BYTES])


def parse_architecture(raw: bytes) -> str:
    """Such as ``arm64e``. Source: struct proc_archinfo.

    Raises:
        ValueError
    """
    if len(raw) != 8:
        raise ValueError(f"{len(raw)} bytes of architecture")
    cpu, subtype = int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:7], "little")
    name = CPU_TYPES.get(cpu, f"cpu type {cpu}")
    return "arm64e" if name == "arm64" and subtype == _ARM64E else name


def parse_text(raw: bytes) -> str:
    """A string in an array, up to its NUL."""
    return decode(raw.partition(b"\0")[0])


def _device(number: int) -> int | None:
    """None for NODEV, and for 0, which processes without a terminal have on some releases."""
    return None if number in (0, NO_DEVICE) else number
