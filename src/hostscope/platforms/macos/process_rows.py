"""All processes: by libproc, asked one by one, or from the kernel's process table alone."""

import os
from collections.abc import Iterable, Iterator

from hostscope.errors import Error, Gone
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Activity, Cpu, Executable, Io, Memory, Process, Schedule, Session, UnixIds
from hostscope.platforms.macos import process_list, translate
from hostscope.platforms.macos.attempts import Attempts
from hostscope.platforms.macos.clock import Boot, started_at_ns
from hostscope.platforms.macos.context import Answered, Contexts, Known
from hostscope.platforms.macos.names import Terminals
from hostscope.platforms.macos.native import errnos
from hostscope.platforms.macos.parse import STATES, Arguments, Listed, Task, Usage
from hostscope.platforms.macos.questions import Questions
from hostscope.platforms.posix_accounts import Accounts
from hostscope.platforms.tally import Tally

USAGE_FIELDS = frozenset({"memory", "io", "activity"})
TABLE_FIELDS = frozenset({"groups", "security", "exe"})
"""What needs the process table besides: groups, and whether Rosetta translates."""
TASK_FIELDS = ("threads", "schedule", "cpu", "memory", "activity")
FOREIGN_FIELDS = (*TASK_FIELDS, "io", "cwd", "root", "open_files")
"""What the kernel tells root and a process's own user only."""
NOT_IN_TABLE = ("exe", *FOREIGN_FIELDS)
POLICIES = {1: "timeshare", 2: "rr", 4: "fifo"}
ZOMBIE, STOPPED = 5, 4
TRACED, SYSTEM = 0x800, 0x200
"""P_…: of the process table."""
TRACED_FLAG = 0x2
"""PROC_FLAG_TRACED."""
_LIVES = Gap("state", Reason.UNSUPPORTED, "the process table tells only that it lives")
_TABLE_ONLY = "the process table does not tell; the libproc method does"


class ProcessRows:
    """Rows of one sweep. Not for use by several threads."""

    def __init__(
        self,
        boot: Boot,
        accounts: Accounts,
        terminals: Terminals,
        wanted: frozenset[str],
        questions: Questions,
        attempts: Attempts,
        contexts: Contexts | None,
    ) -> None:
        """Without `contexts` everything comes from the process table."""
        self._boot = boot
        self._accounts = accounts
        self._terminals = terminals
        self._wanted = wanted
        self._ask = questions
        self._attempts = attempts
        self._contexts = contexts
        self._table: dict[int, Listed] | None = None
        self._executables: dict[str, Executable] = {}
        self._ids: dict[tuple[int, ...], UnixIds] = {}
        self._schedules: dict[tuple[int, int, int], Schedule] = {}

    def sweep(self, pids: Iterable[int], tally: Tally) -> Iterator[Process]:
        """The processes with these pids, in their order.

        Cost: one call for identity, cpu, memory and threads together, one each for path, arguments, session, usage,
        directories, descriptors; with security up to eight more. Two calls for the process table, once.
        """
        for pid in pids:
            tally.seen += 1
            process = self._try(pid, tally)
            if process is not None:
                yield process

    def _try(self, pid: int, tally: Tally) -> Process | None:
        try:
            return self.read(pid)
        except Gone:
            tally.vanished += 1
        except PermissionError:
            tally.denied += 1
        except (OSError, Error, ValueError) as failed:
            tally.failed += 1
            tally.note(f"process {pid}: {failed}")
        return None

    def read(self, pid: int) -> Process:
        """One process; read again when it ended, or another took its pid, meanwhile.

        Raises:
            Gone: there is none, or it changed twice.
            Denied, NativeError
            ValueError: the kernel's answer makes no sense.
        """
        return self._once(pid) or self._once(pid) or _gone(pid)

    def table(self) -> dict[int, Listed]:
        """The process table, read when it is first asked for."""
        if self._table is None:
            self._table = {listed.pid: listed for listed in process_list.read_processes()}
            self._attempts.done["sysctl"] += 1
        return self._table

    def _once(self, pid: int) -> Process | None:
        """The row; None when what was read may be of two processes."""
        if self._contexts is None:
            return self._of_table(self._listed(pid))
        try:
            task = self._ask.task(pid)
        except OSError as failed:
            return self._without_task(pid, failed)
        self._attempts.done["libproc"] += 1
        process = self._row(task, self._known_entry(task), [])
        return process if self._still(pid, task.start_us) else None

    def _of_table(self, listed: Listed) -> Process:
        """The table tells stopped and dead ones from others, and no more of a state."""
        known = listed.status in (ZOMBIE, STOPPED) or "state" not in self._wanted
        return self._row(listed, listed, [] if known else [_LIVES])

    def _without_task(self, pid: int, failed: OSError) -> Process:
        """Of the process table: zombies have nothing else, others refuse."""
        gap = self._attempts.refused("libproc", "state", failed)
        listed = self._listed(pid)
        if listed.status == ZOMBIE:
            return self._row(listed, listed, [])
        if failed.errno == errnos.ESRCH:
            raise Gone(f"process {pid}: there is no such process")
        gaps = [Gap(field, gap.reason, gap.detail) for field in (*FOREIGN_FIELDS, "state") if field in self._wanted]
        return self._row(listed, listed, gaps)

    def _listed(self, pid: int) -> Listed:
        """The entry of the table that was read, or a fresh one."""
        return self.table().get(pid) or process_list.read_one(pid)

    def _known_entry(self, task: Task) -> Listed | None:
        if not self._wanted & TABLE_FIELDS:
            return None
        found = self.table().get(task.pid)
        if found is None or found.start_us != task.start_us:  # younger than the table
            found = process_list.read_one(task.pid)
        return found if found.start_us == task.start_us else None

    def _still(self, pid: int, start_us: int) -> bool:
        """Whether the pid is still the same process's after everything was asked."""
        try:
            return self._ask.start_us(pid) == start_us
        except OSError:
            return False

    def _row(self, facts: Task | Listed, listed: Listed | None, gaps: list[Gap]) -> Process:
        wanted = self._wanted - {gap.field for gap in gaps}
        task = facts if isinstance(facts, Task) else None
        pid, dead = facts.pid, facts.status == ZOMBIE
        if dead or pid == 0:
            wanted -= {"exe", "argv", "cwd", "root", "open_files"}
        usage = self._usage(pid, wanted, gaps) if task else None
        arguments = self._arguments(pid, facts.uid, gaps) if "argv" in wanted else None
        exe = self._exe(pid, gaps) if "exe" in wanted and self._contexts else None
        if self._contexts is None:
            gaps += [Gap(field, Reason.UNSUPPORTED, _TABLE_ONLY) for field in NOT_IN_TABLE if field in wanted]
        cwd, root = self._directories(pid, wanted, gaps) if task else (None, None)
        answered = self._context(facts, exe, listed, usage, arguments, dead, gaps)
        return Process(
            key=self._boot.key(pid, facts.start_us),
            ppid=facts.ppid,
            name=facts.name,
            state=_state(facts) if "state" in wanted else None,
            kernel=pid == 0 if "state" in self._wanted else None,
            started_at_ns=started_at_ns(facts.start_us),
            exe=exe,
            argv=arguments.argv if arguments else None,
            cwd=cwd,
            root=root,
            owner=self._accounts.user(facts.uid) if "owner" in wanted else None,
            ids=self._unix_ids(facts) if "owner" in wanted else None,
            groups=tuple(map(self._accounts.group, listed.groups)) if listed and "groups" in wanted else None,
            session=self._session(facts, gaps) if "session" in wanted else None,
            threads=task.threads if task and "threads" in wanted else None,
            schedule=self._schedule(task) if task and "schedule" in wanted else None,
            cpu=self._cpu(task, usage) if task and "cpu" in wanted else None,
            memory=_memory(task) if task and "memory" in wanted else None,
            io=Io(usage.read_bytes, usage.written_bytes, None, None) if usage and "io" in wanted else None,
            open_files=self._open_files(pid, gaps) if task and "open_files" in wanted else None,
            activity=_activity(task) if task and "activity" in wanted else None,
            security=answered.security,
            macos=answered.macos,
            gaps=tuple(gaps),
        )

    def _context(
        self,
        facts: Task | Listed,
        exe: Executable | None,
        listed: Listed | None,
        usage: Usage | None,
        arguments: Arguments | None,
        dead: bool,
        gaps: list[Gap],
    ) -> Answered:
        if self._contexts is None or dead:
            return Answered(None, None)
        return self._contexts.of(Known(facts.pid, facts, exe, listed, usage, arguments), gaps)

    def _exe(self, pid: int, gaps: list[Gap]) -> Executable | None:
        path = self._attempts.attempt("libproc", "exe", gaps, self._ask.path, pid)
        if path is None:
            return None
        found = self._executables.get(path)
        if found is None:
            found = self._executables[path] = Executable(path)
        return found

    def _arguments(self, pid: int, uid: int, gaps: list[Gap]) -> Arguments | None:
        """EINVAL means that it is another user's, that it has none, or that it is gone: the first we can tell."""
        try:
            found = self._ask.arguments(pid)
        except (OSError, ValueError) as failed:
            gap = self._attempts.refused("sysctl", "argv", failed)
            if isinstance(failed, OSError) and failed.errno == errnos.EINVAL:
                gap = _ambiguous(uid)
            gaps.append(gap)
            return None
        self._attempts.done["sysctl"] += 1
        if not found.whole:
            gaps.append(Gap("argv", Reason.TRUNCATED, "the kernel gave fewer arguments than there are"))
        return found

    def _directories(self, pid: int, wanted: frozenset[str], gaps: list[Gap]) -> tuple[str | None, str | None]:
        fields = [field for field in ("cwd", "root") if field in wanted]
        if not fields:
            return None, None
        found = self._attempts.attempt("libproc", fields[0], gaps, self._ask.directories, pid)
        if found is None:
            gaps += [Gap(field, gaps[-1].reason, gaps[-1].detail) for field in fields[1:]]
            return None, None
        return found[0] if "cwd" in fields else None, found[1] if "root" in fields else None

    def _usage(self, pid: int, wanted: frozenset[str], gaps: list[Gap]) -> Usage | None:
        if not wanted & USAGE_FIELDS or self._contexts is None:
            return None
        field = "io" if "io" in wanted else "macos.footprint_bytes"
        return self._attempts.attempt("libproc", field, gaps, self._ask.usage, pid)

    def _session(self, facts: Task | Listed, gaps: list[Gap]) -> Session:
        pid = facts.pid  # getsid(0) would be our own
        session = self._attempts.attempt("libproc", "session.session", gaps, self._ask.session, pid) if pid else 0
        return Session(session, facts.pgid, self._terminals.name(facts.terminal))

    def _open_files(self, pid: int, gaps: list[Gap]) -> int | None:
        return self._attempts.attempt("libproc", "open_files", gaps, self._ask.open_files, pid)

    def _unix_ids(self, facts: Task | Listed) -> UnixIds:
        mark = (facts.ruid, facts.uid, facts.svuid, facts.rgid, facts.gid, facts.svgid)
        found = self._ids.get(mark)
        if found is None:
            user, group = self._accounts.user, self._accounts.group
            found = self._ids[mark] = UnixIds(
                user=user(facts.ruid),
                effective_user=user(facts.uid),
                saved_user=user(facts.svuid),
                fs_user=None,
                group=group(facts.rgid),
                effective_group=group(facts.gid),
                saved_group=group(facts.svgid),
                fs_group=None,
            )
        return found

    def _schedule(self, task: Task) -> Schedule:
        mark = (task.policy, task.priority, task.nice)
        found = self._schedules.get(mark)
        if found is None:
            policy = POLICIES.get(task.policy, f"policy {task.policy}")
            found = self._schedules[mark] = Schedule(policy, task.priority, task.nice, None)
        return found

    def _cpu(self, task: Task, usage: Usage | None) -> Cpu:
        ns = self._boot.nanoseconds
        if usage is None:
            return Cpu(ns(task.user_time), ns(task.system_time))
        children = ns(usage.child_user_time), ns(usage.child_system_time)
        return Cpu(ns(task.user_time), ns(task.system_time), *children)


def _state(facts: Task | Listed) -> str:
    """Whether a living process runs is known of its threads only."""
    if facts.status == STOPPED:
        traced = facts.flags & (TRACED_FLAG if isinstance(facts, Task) else TRACED)
        return "tracing-stop" if traced else "stopped"
    if isinstance(facts, Task) and facts.status != ZOMBIE:
        return "running" if facts.running > 0 else "sleeping"
    return STATES.get(facts.status, f"state {facts.status}")


def _memory(task: Task) -> Memory:
    return Memory(task.virtual_bytes, task.resident_bytes, None, None, None, None)


def _activity(task: Task) -> Activity:
    """Faults count page-ins too."""
    return Activity(max(0, task.faults - task.pageins), task.pageins, None, None)


def _ambiguous(uid: int) -> Gap:
    if os.geteuid() not in (0, uid):
        return Gap("argv", Reason.DENIED, translate.ROOT_HINT)
    return Gap("argv", Reason.UNAVAILABLE, "the kernel refuses its arguments without a reason (EINVAL)")


def _gone(pid: int) -> Process:
    raise Gone(f"process {pid}: there is no such process")
