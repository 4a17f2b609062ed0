"""Every process of this machine, field by field, against ps, psutil and /proc itself."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.model.text import decode, encode
from hostscope.platforms.linux.capabilities import mask
from hostscope.platforms.linux.context import NAMESPACES
from hostscope.platforms.linux.parse import NO_ID
from tests.system.settling import lasting
from tests.zoo.sight import sweep

pytestmark = [pytest.mark.system, pytest.mark.root]

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module", params=("iterator", "proc"))
def framed(request: pytest.FixtureRequest) -> Iterator[Callable[..., list[tuple[Any, Process, Any]]]]:
    """What a peer says before and after the sweep, with the row between, for processes that both looks show."""

    def frame(look: Callable[[], dict[int, Any]]) -> list[tuple[Any, Process, Any]]:
        before = look()
        rows = {row.pid: row for row in sweep(request.param)[0]}
        after = look()
        stayed = before.keys() & after.keys()
        assert stayed - rows.keys() == set(), "processes that the sweep missed"
        assert len(stayed) > 5
        return [(before[pid], rows[pid], after[pid]) for pid in sorted(stayed)]

    yield frame


Looked = dict[str, Any]
"""What a peer says about one process."""


class Differences:
    """Collects what differs, by pid and field, to show all of it at once."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, str], str] = {}
        self.compared = 0

    def same(self, pid: int, field: str, ours: object, before: object, after: object) -> None:
        """A field that changes seldom: ours is what the peer said before or after."""
        self.compared += 1
        if ours not in (before, after):
            self.found[pid, field] = f"{pid} {field}: {ours!r}, peer {before!r} then {after!r}"

    def between(self, pid: int, field: str, ours: float | None, before: float, after: float, *, slack: float) -> None:
        """A counter: ours lies between the peer's two looks, give or take `slack`."""
        self.compared += 1
        if ours is None or not min(before, after) - slack <= ours <= max(before, after) + slack:
            self.found[pid, field] = f"{pid} {field}: {ours!r} not in {before!r}…{after!r} ±{slack}"


def settle(compare: Callable[[Differences], None]) -> None:
    """Fails the test with what differs each time."""

    def differing() -> dict[tuple[int, str], str]:
        compare(differences := Differences())
        assert differences.compared
        return differences.found

    found = lasting(differing)
    assert not found, "\n" + "\n".join(found.values())


# ps -----------------------------------------------------------------------------------------------------------------

CAPABILITY_LINES = {
    "CapInh": "inheritable", "CapPrm": "permitted", "CapEff": "effective", "CapBnd": "bounding", "CapAmb": "ambient",
}  # fmt: skip

PS_COLUMNS = (
    "pid", "ppid", "state", "ruid", "euid", "suid", "fsuid", "rgid", "egid", "sgid", "fsgid", "pgid", "sid", "tty",
    "nlwp", "ni", "pri", "cls", "vsz", "rss", "times", "min_flt", "maj_flt", "luid", "comm",
)  # fmt: skip
PS_CLASSES = {"other": "TS", "fifo": "FF", "rr": "RR", "batch": "B", "idle": "IDL", "deadline": "DLN"}
PS_STATES = {
    "running": "R", "sleeping": "S", "disk-sleep": "D", "stopped": "T", "tracing-stop": "t", "zombie": "Z", "idle": "I",
    "dead": "X", "parked": "P",
}  # fmt: skip


def ps() -> dict[int, dict[str, str]]:
    """All processes but ps itself, by pid."""
    if shutil.which("ps") is None:
        pytest.skip("needs ps (procps)")
    command = ["ps", "-eo", ",".join(PS_COLUMNS), "--no-headers"]
    lines = subprocess.check_output(command, text=True, errors="replace").split("\n")[:-1]
    rows = [line.split(maxsplit=len(PS_COLUMNS) - 1) for line in lines]
    return {int(row[0]): dict(zip(PS_COLUMNS, row, strict=True)) for row in rows if row[-1] != "ps"}


def test_against_ps(framed: Any) -> None:
    settle(lambda differences: compare_ps(framed, differences))


def compare_ps(framed: Any, differences: Differences) -> None:
    for before, row, after in framed(ps):
        assert row.ids and row.session and row.schedule and row.cpu and row.activity and row.linux
        stable = {
            "ppid": row.ppid, "ruid": row.ids.user.id, "euid": row.ids.effective_user.id,
            "suid": row.ids.saved_user.id, "fsuid": row.ids.fs_user.id, "rgid": row.ids.group.id,
            "egid": row.ids.effective_group.id, "sgid": row.ids.saved_group.id, "fsgid": row.ids.fs_group.id,
            "pgid": row.session.group, "sid": row.session.session, "tty": row.session.terminal or "?",
            "nlwp": row.threads, "cls": PS_CLASSES[row.schedule.policy],
            "luid": "-" if row.linux.login_uid is None else row.linux.login_uid,
            "pri": 39 - row.schedule.priority,
        }  # fmt: skip
        for name, ours in stable.items():
            differences.same(row.pid, name, str(ours), before[name], after[name])
        if row.schedule.policy in ("other", "batch"):
            differences.same(row.pid, "ni", str(row.schedule.nice), before["ni"], after["ni"])
        if {before["state"], after["state"]} <= set("IZTt"):
            differences.same(row.pid, "state", PS_STATES[row.state], before["state"], after["state"])
        # Whole seconds of whole ticks, of either kind.
        spent_s, slack = (row.cpu.user_ns + row.cpu.system_ns) / 1e9, 1 + 2 * TICK_NS / 1e9
        differences.between(row.pid, "times", spent_s, int(before["times"]), int(after["times"]), slack=slack)
        for name, count in (("min_flt", row.activity.minor_faults), ("maj_flt", row.activity.major_faults)):
            differences.between(row.pid, name, count, int(before[name]), int(after[name]), slack=0)
        if row.memory:
            looks = (int(before["vsz"]), int(after["vsz"]))
            differences.between(row.pid, "vsz", row.memory.virtual_bytes >> 10, *looks, slack=0)
            # /proc/PID/stat, which ps reads, leaves out what each CPU has counted but not yet handed in.
            rss = (int(before["rss"]), int(after["rss"]))
            if rss == (0, 0):  # nothing was handed in yet of a process of Wine, seen beside this test
                continue
            differences.between(row.pid, "rss", row.memory.resident_bytes >> 10, *rss, slack=2048 + max(rss) // 50)


# psutil -------------------------------------------------------------------------------------------------------------

PSUTIL_FIELDS = (
    "pid", "ppid", "name", "exe", "cmdline", "create_time", "uids", "gids", "num_threads", "nice", "cwd", "terminal",
    "cpu_times", "memory_info", "num_ctx_switches", "io_counters", "num_fds",
)  # fmt: skip


def with_psutil() -> dict[int, dict[str, Any]]:
    """All processes by pid; a field that psutil was refused is None."""
    psutil.process_iter.cache_clear()
    found = {process.pid: process.info for process in psutil.process_iter(PSUTIL_FIELDS)}
    return {pid: info | in_our_terms(pid, info) for pid, info in found.items()}


def in_our_terms(pid: int, info: dict[str, Any]) -> dict[str, Any]:
    """Text that is no UTF-8, and descriptors that a waiting accept() has taken: psutil leaves those out."""
    ours = {name: info[name] and decode(os.fsencode(info[name])) for name in ("name", "exe", "cwd")}
    taken = 0  # what Linux before 6.2 says
    with suppress(FileNotFoundError, ProcessLookupError):
        taken = os.stat(f"/proc/{pid}/fd").st_size
    return ours | {
        "cmdline": info["cmdline"] and [decode(os.fsencode(argument)) for argument in info["cmdline"]],
        "num_fds": info["num_fds"] and max(info["num_fds"], taken),
    }


def test_against_psutil(framed: Any) -> None:
    settle(lambda differences: compare_psutil(framed, differences))


def compare_psutil(framed: Any, differences: Differences) -> None:
    for before, row, after in framed(with_psutil):
        if row.state == "zombie" or row.pid == os.getpid():
            continue
        stable = {
            "ppid": row.ppid, "num_threads": row.threads, "nice": row.schedule.nice,
            "uids": tuple(int(user.id) for user in (row.ids.user, row.ids.effective_user, row.ids.saved_user)),
            "gids": tuple(int(group.id) for group in (row.ids.group, row.ids.effective_group, row.ids.saved_group)),
            "terminal": f"/dev/{row.session.terminal}" if row.session.terminal else None,
        }  # fmt: skip
        for name, ours in stable.items():
            differences.same(row.pid, name, ours, before[name], after[name])
        compare_programs(row, before, after, differences)
        compare_refusable(row, before, after, differences)
        # psutil counts from btime of /proc/stat, which is whole seconds.
        started = (before["create_time"], after["create_time"])
        differences.between(row.pid, "create_time", row.started_at_ns / 1e9, *started, slack=1.1)
        compare_counters(row, before, after, differences)


def denied(row: Process) -> set[str]:
    """Fields that the kernel refused, even to root: a security module, or a process with more capabilities."""
    return {gap.field for gap in row.gaps if gap.reason is Reason.DENIED}


def stem(name: str) -> str:
    """A kernel worker's name ends with what it works on at the moment."""
    return re.split("[-+]", name)[0] if name.startswith("kworker/") else name


def compare_programs(row: Process, before: Looked, after: Looked, differences: Differences) -> None:
    """psutil extends names from the arguments, drops a deleted mark, splits some titles at blanks, reads CR as LF."""
    began = any(stem(look["name"]).startswith(stem(row.name)) for look in (before, after))
    differences.same(row.pid, "name", began, True, True)
    if row.exe and not row.exe.deleted:
        differences.same(row.pid, "exe", row.exe.path, before["exe"], after["exe"])
    if row.argv and len(row.argv) > 1:
        ours = [argument.replace("\r\n", "\n").replace("\r", "\n") for argument in row.argv]
        differences.same(row.pid, "cmdline", ours, before["cmdline"], after["cmdline"])


def compare_refusable(row: Process, before: Looked, after: Looked, differences: Differences) -> None:
    """psutil gives None where it was refused; our gap says so."""
    refusable = {"num_fds": "open_files", "io_counters": "io"} | ({} if row.kernel else {"cwd": "cwd"})
    for name, field in refusable.items():
        if before[name] is None:
            differences.same(row.pid, f"{name} is denied", field in denied(row), True, True)
    if None not in (before["num_fds"], after["num_fds"]):
        differences.between(row.pid, "num_fds", row.open_files, before["num_fds"], after["num_fds"], slack=0)
    if not row.kernel and before["cwd"] is not None:
        differences.same(row.pid, "cwd", row.cwd or "", before["cwd"], after["cwd"])


def compare_counters(row: Process, before: Looked, after: Looked, differences: Differences) -> None:
    assert row.cpu and row.activity
    counters = [
        ("user", row.cpu.user_ns / 1e9, "cpu_times", 0.02),
        ("system", row.cpu.system_ns / 1e9, "cpu_times", 0.02),
        ("voluntary", row.activity.voluntary_switches, "num_ctx_switches", 0),
        ("involuntary", row.activity.involuntary_switches, "num_ctx_switches", 0),
    ]
    if row.io:
        counters += [
            ("read_bytes", row.io.read_bytes, "io_counters", 0),
            ("write_bytes", row.io.written_bytes, "io_counters", 0),
            ("read_chars", row.io.read_call_bytes, "io_counters", 0),
            ("write_chars", row.io.written_call_bytes, "io_counters", 0),
        ]
    if row.memory:
        counters.append(("vms", row.memory.virtual_bytes, "memory_info", 0))
    for name, ours, group, slack in counters:
        looks = (getattr(before[group], name), getattr(after[group], name))
        differences.between(row.pid, name, ours, *looks, slack=slack)


# /proc --------------------------------------------------------------------------------------------------------------


def raw() -> dict[int, dict[str, bytes]]:
    """Files and links of every process, as they are."""
    found = {}
    for name in os.listdir("/proc"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if name.isdecimal():
                found[int(name)] = raw_process(Path("/proc", name))
    return found


LINKS = ("exe", "cwd", "root", *(f"ns/{name}" for name in NAMESPACES))


def raw_process(directory: Path) -> dict[str, bytes]:
    files = ("stat", "cmdline", "oom_score_adj", "sessionid")
    shown = {name: (directory / name).read_bytes() for name in files if (directory / name).exists()}
    shown |= {name: raw_link(os.fsencode(directory / name)) for name in LINKS}
    for line in (directory / "status").read_bytes().splitlines():
        name, _, value = line.partition(b":")
        shown[name.decode()] = value.strip()
    return shown


def raw_link(path: bytes) -> bytes:
    """What a link says; for one that does not apply, or that even root may not read, nothing."""
    try:
        return os.readlink(path)
    except (FileNotFoundError, PermissionError):
        return b""


def test_against_proc(framed: Any) -> None:
    settle(lambda differences: compare_proc(framed, differences))


def compare_proc(framed: Any, differences: Differences) -> None:
    for before, row, after in framed(raw):
        for name, ours in {**statuses(row), **places(row)}.items():
            if name in before:
                differences.same(row.pid, name, ours, before[name], after[name])
        argv = b"".join(encode(argument) + b"\0" for argument in row.argv or ())
        differences.same(row.pid, "cmdline", argv, ended(before["cmdline"]), ended(after["cmdline"]))
        compare_stat(row, before["stat"], after["stat"], differences)


def ended(cmdline: bytes) -> bytes:
    """A title may come without the NUL at its end."""
    return cmdline if cmdline.endswith(b"\0") or not cmdline else cmdline + b"\0"


def statuses(row: Process) -> dict[str, bytes]:
    """What /proc/PID/status and its like must say."""
    linux = row.linux
    assert linux and linux.capabilities and linux.seccomp and row.groups is not None
    masks = {name: mask(getattr(linux.capabilities, field)) for name, field in CAPABILITY_LINES.items()}
    return {
        **{name: b"%016x" % value for name, value in masks.items()},
        "Groups": " ".join(group.id for group in row.groups).encode(),
        "NoNewPrivs": b"%d" % bool(linux.no_new_privs),
        "Seccomp": b"%d" % ("disabled", "strict", "filter").index(linux.seccomp),
        "TracerPid": b"%d" % (linux.tracer_pid or 0),
        "Threads": b"%d" % (row.threads or 0),
        "Kthread": b"%d" % bool(row.kernel),
        "oom_score_adj": b"%d\n" % (linux.oom_score_adj or 0),
        "sessionid": b"%d" % (NO_ID if linux.audit_session is None else linux.audit_session),
    }


def places(row: Process) -> dict[str, bytes]:
    """What the links of /proc/PID must say. Kernel threads have directories there, which say nothing about them."""
    shown = {} if row.kernel else {"cwd": encode(row.cwd or ""), "root": encode(row.root or "")}
    shown["exe"] = encode(row.exe.path) + b" (deleted)" * row.exe.deleted if row.exe else b""
    for name in NAMESPACES:
        inode = getattr(row.linux.namespaces, name) if row.linux and row.linux.namespaces else None
        shown[f"ns/{name}"] = b"" if inode is None else f"{name}:[{inode}]".encode()
    return shown


def compare_stat(row: Process, before: bytes, after: bytes, differences: Differences) -> None:
    names = [stem(decode(stat[stat.index(b"(") + 1 : stat.rindex(b")")])) for stat in (before, after)]
    fields = [stat[stat.rindex(b")") + 2 :].split() for stat in (before, after)]
    differences.same(row.pid, "name", stem(row.name), *names)
    differences.same(row.pid, "start", row.key.start, *(int(field[19]) for field in fields))
    differences.same(row.pid, "priority", row.schedule and row.schedule.priority, *(int(field[15]) for field in fields))
    assert row.cpu
    # The kernel divides the exact sum by samples taken at ticks, so the shares may move back by a little.
    for name, spent_ns, index in (("utime", row.cpu.user_ns, 11), ("stime", row.cpu.system_ns, 12)):
        looks = (int(fields[0][index]), int(fields[1][index]))
        differences.between(row.pid, name, spent_ns // TICK_NS, *looks, slack=2)
