"""All processes by reading /proc: for any user, any kernel from 4.18."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

from hostscope.model.gap import Gap, Reason
from hostscope.model.process import (
    Activity,
    Cpu,
    Executable,
    Io,
    Memory,
    Process,
    Schedule,
    Session,
)
from hostscope.model.text import decode
from hostscope.platforms.linux.clock import TICK_NS, Boot
from hostscope.platforms.linux.context import NAMESPACES, Context, ContextFacts, Contexts
from hostscope.platforms.linux.executable import read_executable
from hostscope.platforms.linux.names import Terminals
from hostscope.platforms.linux.parse import (
    PF_EXITING,
    PF_KTHREAD,
    POLICIES,
    Stat,
    Status,
    parse_cmdline,
    parse_ids,
    parse_io,
    parse_namespace,
    parse_rollup,
    parse_security,
    parse_stat,
    parse_status,
)
from hostscope.platforms.linux.read import LIMIT, PATH_ONLY, list_at, list_pids, read_at
from hostscope.platforms.linux.translate import gap
from hostscope.platforms.tally import Tally

STATUS_FIELDS = frozenset({"owner", "groups", "memory", "activity", "security"})
ADDRESS_SPACE_FIELDS = frozenset({"exe", "argv", "cwd", "root", "memory"})


class ProcRows:
    """Rows of one sweep. Not for use by several threads."""

    def __init__(self, boot: Boot, contexts: Contexts, terminals: Terminals, wanted: frozenset[str], labels: bool):
        self._boot = boot
        self._contexts = contexts
        self._terminals = terminals
        self._wanted = wanted
        self._labels = labels and "lsm" in wanted
        self._needs_status = bool(wanted & STATUS_FIELDS)
        self._schedules: dict[tuple[int, int, int, int], Schedule] = {}
        self._executables: dict[bytes, Executable] = {}

    def sweep(self, tally: Tally, pids: Iterable[int] | None = None) -> Iterator[Process]:
        """All processes in ascending pid order, or those of `pids` in theirs.

        Cost: seven system calls a row for state, threads, cpu and the like; three more for each further file that a
        field needs, one more for each link (docs/commands.md lists them).
        """
        proc = os.open("/proc", PATH_ONLY)
        try:
            for pid in list_pids() if pids is None else pids:
                tally.seen += 1
                process = self._try(proc, pid, tally)
                if process is not None:
                    yield process
        finally:
            os.close(proc)

    def _try(self, proc: int, pid: int, tally: Tally) -> Process | None:
        try:
            return self.read(proc, pid)
        except (FileNotFoundError, ProcessLookupError):
            tally.vanished += 1
        except PermissionError:
            tally.denied += 1
        except (OSError, ValueError) as failed:
            tally.failed += 1
            tally.note(f"process {pid}: {failed}")
        return None

    def read(self, proc: int, pid: int) -> Process:
        """One process; `proc` is a descriptor of /proc. One that began to end while it was read is read again.

        Raises:
            OSError: ENOENT or ESRCH when it is gone, EACCES under hidepid.
            ValueError: the kernel's text could not be parsed, or made no sense twice.
        """
        try:
            return self._once(proc, pid)
        except (FileNotFoundError, ProcessLookupError, Ending):
            return self._once(proc, pid)

    def _once(self, proc: int, pid: int) -> Process:
        directory = os.open(str(pid), PATH_ONLY, dir_fd=proc)
        try:
            return self._row(directory)
        finally:
            os.close(directory)

    def _row(self, directory: int) -> Process:
        stat = parse_stat(read_at(directory, "stat"))
        if not is_ending(stat):
            return self._process(directory, directory, stat, ended=False)
        with live_thread(directory) if stat.threads > 1 else nullcontext() as thread:
            if thread is not None:
                return self._process(directory, thread, stat, ended=False)
        return self._process(directory, directory, stat, ended=True)

    def _process(self, leader: int, directory: int, stat: Stat, ended: bool) -> Process:
        """A process; `directory` is its leader's, or that of a thread when the leader ended before it."""
        status = parse_status(read_at(directory, "status")) if self._needs_status else None
        gaps: list[Gap] = []
        wanted = self._wanted
        if ended or stat.flags & PF_KTHREAD:
            wanted = wanted - ADDRESS_SPACE_FIELDS
        context = self._context(directory, status, ended, gaps)
        return Process(
            self._boot.key(stat.pid, stat.start),
            stat.ppid,
            decode(stat.name),
            stat.state,
            bool(stat.flags & PF_KTHREAD),
            self._boot.started_at_ns(stat.start),
            self._exe(directory, gaps) if "exe" in wanted else None,
            self._argv(directory, gaps) if "argv" in wanted else None,
            self._link(directory, "cwd", gaps) if "cwd" in wanted else None,
            self._link(directory, "root", gaps) if "root" in wanted else None,
            context.owner,
            context.ids,
            context.groups,
            Session(stat.session, stat.group, self._terminals.name(stat.tty)) if "session" in wanted else None,
            stat.threads if "threads" in wanted else None,
            self._schedule(stat) if "schedule" in wanted else None,
            _cpu(stat) if "cpu" in wanted else None,
            self._memory(directory, stat, status, gaps) if status and "memory" in wanted else None,
            self._io(leader, gaps) if "io" in wanted else None,
            self._open_files(directory, gaps) if "open_files" in wanted else None,
            _activity(stat, status) if status and "activity" in wanted else None,
            context.security,
            context.container,
            context.service,
            None,
            None,
            context.linux,
            None,
            None,
            tuple(gaps),
        )

    def _exe(self, directory: int, gaps: list[Gap]) -> Executable | None:
        try:
            return read_executable(directory, "digest" in self._wanted, self._executables)
        except OSError as failed:
            gaps.append(gap("exe", _unless_ending(failed)))
            return None

    def _argv(self, directory: int, gaps: list[Gap]) -> tuple[str, ...] | None:
        try:
            raw = read_at(directory, "cmdline")
        except OSError as failed:
            gaps.append(gap("argv", _unless_ended(failed, directory)))
            return None
        if not raw and read_at(directory, "statm").startswith(b"0 "):
            raise Ending("no address space")
        if len(raw) >= LIMIT:
            gaps.append(Gap("argv", Reason.TRUNCATED, f"longer than {LIMIT} bytes"))
        return parse_cmdline(raw)

    def _link(self, directory: int, name: str, gaps: list[Gap]) -> str | None:
        try:
            return decode(os.readlink(name.encode(), dir_fd=directory))
        except OSError as failed:
            gaps.append(gap(name, _unless_ending(failed)))
            return None

    def _schedule(self, stat: Stat) -> Schedule:
        mark = (stat.policy, stat.priority, stat.nice, stat.realtime_priority)
        found = self._schedules.get(mark)
        if found is None:
            policy = POLICIES.get(stat.policy, f"policy {stat.policy}")
            found = self._schedules[mark] = Schedule(policy, stat.priority, stat.nice, stat.realtime_priority)
        return found

    def _memory(self, directory: int, stat: Stat, status: Status, gaps: list[Gap]) -> Memory | None:
        if status.memory is None:
            raise Ending("no address space")
        peak, highest, resident, shared, swap = status.memory
        pss, uss = self._rollup(directory, gaps) if "memory_detail" in self._wanted else (None, None)
        return Memory(stat.virtual_bytes, resident, shared, swap, peak, highest, pss, uss)

    def _rollup(self, directory: int, gaps: list[Gap]) -> tuple[int | None, int | None]:
        try:
            return parse_rollup(read_at(directory, "smaps_rollup"))
        except OSError as failed:
            failed = _unless_ended(failed, directory)
            gaps += (gap("memory.proportional_bytes", failed), gap("memory.unique_bytes", failed))
            return None, None

    def _io(self, directory: int, gaps: list[Gap]) -> Io | None:
        try:
            read_calls, write_calls, read, written = parse_io(read_at(directory, "io"))
        except OSError as failed:
            gaps.append(gap("io", _unless_ended(failed, directory)))
            return None
        return Io(read, written, read_calls, write_calls)

    def _open_files(self, directory: int, gaps: list[Gap]) -> int | None:
        try:
            return count_descriptors(directory)
        except OSError as failed:
            gaps.append(gap("open_files", _unless_ended(failed, directory)))
            return None

    def _context(self, directory: int, status: Status | None, ended: bool, gaps: list[Gap]) -> Context:
        wanted = self._wanted
        cgroup = self._cgroup(directory, gaps) if "cgroup" in wanted else None
        namespaces = self._namespaces(directory, ended, gaps) if wanted & {"namespaces", "security"} else None
        label = self._label(directory, gaps) if self._labels else None
        security = "security" in wanted
        login = self._optional(directory, "loginuid", "linux.login_uid", gaps) if security else None
        session = self._optional(directory, "sessionid", "linux.audit_session", gaps) if security else None
        score, adjustment = self._oom(directory, gaps) if "oom" in wanted else (None, None)
        if security and status and status.memory:
            gaps.append(DUMPABLE_GAP)
        mark = (
            (status.ids, status.groups if "groups" in wanted else b"", status.security, status.tracer, status.inner_pid)
            if status
            else None,
            cgroup, namespaces, label, login, session, score, adjustment,
        )  # fmt: skip
        return self._contexts.known(mark) or self._contexts.build(
            mark,
            ContextFacts(
                credentials=parse_ids(status.ids) if status else None,
                groups=tuple(map(int, status.groups.split())) if status and "groups" in wanted else None,
                security=parse_security(status.security) if status and security else None,
                login_uid=None if login is None else int(login),
                audit_session=None if session is None else int(session),
                label=label,
                namespaces=namespaces,
                cgroup=cgroup,
                tracer=status.tracer if status and security else None,
                inner_pid=status.inner_pid if status else None,
                oom_score=score,
                oom_score_adj=adjustment,
            ),
        )

    def _optional(self, directory: int, name: str, field: str, gaps: list[Gap]) -> bytes | None:
        """A file that some kernels or users cannot read: its absence is a gap, not the row's end."""
        try:
            return read_at(directory, name)
        except FileNotFoundError as missing:
            _unless_ended(missing, directory)
            gaps.append(Gap(field, Reason.UNSUPPORTED, f"this kernel has no /proc/PID/{name}"))
        except OSError as failed:
            gaps.append(gap(field, _unless_ended(failed, directory)))
        return None

    def _cgroup(self, directory: int, gaps: list[Gap]) -> bytes | None:
        cgroup = self._optional(directory, "cgroup", "linux.cgroup", gaps)
        if cgroup is None:
            gaps += without_cgroup(gaps[-1])
        return cgroup

    def _namespaces(self, directory: int, ended: bool, gaps: list[Gap]) -> tuple[int | None, ...] | None:
        names = NAMESPACES if "namespaces" in self._wanted else SECURITY_NAMESPACES
        try:
            inodes = {name: _namespace(directory, name) for name in names}
        except OSError as failed:
            gaps.append(gap("linux.namespaces", _unless_ended(failed, directory)))
            return None
        if not all(inodes[name] for name in SECURITY_NAMESPACES) and not ended:
            raise Ending("no namespaces")
        return tuple(map(inodes.get, NAMESPACES))

    def _label(self, directory: int, gaps: list[Gap]) -> str | None:
        raw = self._optional(directory, "attr/current", "linux.lsm_label", gaps)
        return None if raw is None else decode(raw.rstrip(b"\n\0")) or None

    def _oom(self, directory: int, gaps: list[Gap]) -> tuple[int | None, int | None]:
        score = self._optional(directory, "oom_score", "linux.oom_score", gaps)
        adjustment = self._optional(directory, "oom_score_adj", "linux.oom_score_adj", gaps)
        return None if score is None else int(score), None if adjustment is None else int(adjustment)


SECURITY_NAMESPACES = ("net", "user")
"""What powers depend on. Every kernel from 3.8 has both, and every process until it ends."""

DUMPABLE_GAP = Gap("linux.dumpable", Reason.UNSUPPORTED, "/proc does not show it; the iterator method does")


def without_cgroup(gap: Gap) -> tuple[Gap, Gap]:
    """What else is not known when a process's control group is not."""
    return Gap("container", gap.reason, gap.detail), Gap("service", gap.reason, gap.detail)


class Ending(ValueError):
    """A process lost something that every living one has: it began to end while it was read."""


def is_ending(stat: Stat) -> bool:
    """Whether the main thread is ending or has ended; what it gives up on the way is then not looked for."""
    return bool(stat.flags & PF_EXITING) or stat.state in ("zombie", "dead")


def count_descriptors(directory: int) -> int:
    """Open descriptors of the process of an open directory.

    Since Linux 6.2 the size of /proc/PID/fd is their number, which anyone may ask for; before, it is 0 and they are
    listed.
    """
    return os.stat("fd", dir_fd=directory).st_size if _sizes_are_counts() else len(list_at(directory, "fd"))


@cache
def _sizes_are_counts() -> bool:
    """We always have a descriptor open: that of the directory of the process being read."""
    return os.stat("/proc/self/fd").st_size > 0


@contextmanager
def live_thread(directory: int) -> Iterator[int | None]:
    """Directory of a thread that has not ended, of the process of an open directory; None when all have.

    A leader may end before its threads (pthread_exit in main). /proc/PID then shows neither program nor arguments,
    though the process runs on; each thread's own directory still has them.
    """
    for tid in list_at(directory, "task"):
        thread = _open_live(directory, tid)
        if thread is not None:
            try:
                yield thread
            finally:
                os.close(thread)
            return
    yield None


def _open_live(directory: int, tid: str) -> int | None:
    try:
        thread = os.open(f"task/{tid}", PATH_ONLY, dir_fd=directory)
    except FileNotFoundError:
        return None
    live = False
    try:
        live = not is_ending(parse_stat(read_at(thread, "stat")))
    except (FileNotFoundError, ProcessLookupError):
        pass  # ended since it was listed; below task/ that is ENOENT, if reading had not begun
    finally:
        if not live:
            os.close(thread)
    return thread if live else None


def _namespace(directory: int, name: str) -> int | None:
    try:
        return parse_namespace(os.readlink(f"ns/{name}", dir_fd=directory))
    except FileNotFoundError:
        # A zombie has left all namespaces but user and pid, and old kernels lack time and cgroup.
        return None


def _unless_ended(failed: OSError, directory: int) -> OSError:
    """Raises ESRCH when the process itself is gone, so that no row is half read; else gives the error back."""
    if failed.errno == errno.ESRCH:
        raise failed
    if failed.errno == errno.ENOENT:
        os.stat("stat", dir_fd=directory)
    return failed


def _unless_ending(failed: OSError) -> OSError:
    """Raises `Ending` for links that every living process has; else gives the error back."""
    if failed.errno == errno.ENOENT:
        raise Ending(failed.strerror) from failed
    if failed.errno == errno.ESRCH:
        raise failed
    return failed


def _cpu(stat: Stat) -> Cpu:
    return Cpu(
        stat.user_ticks * TICK_NS,
        stat.system_ticks * TICK_NS,
        stat.children_user_ticks * TICK_NS,
        stat.children_system_ticks * TICK_NS,
    )


def _activity(stat: Stat, status: Status) -> Activity:
    return Activity(stat.minor_faults, stat.major_faults, status.voluntary_switches, status.involuntary_switches)
