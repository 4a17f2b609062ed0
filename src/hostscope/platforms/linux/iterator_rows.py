"""Processes from the iterator's records: the same rows as `procfs.ProcRows` makes from /proc."""

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from hostscope.errors import Unavailable
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.linux import LinuxContext
from hostscope.model.process import Activity, Cpu, Executable, Io, Memory, Process, Schedule, Session
from hostscope.model.request import FIELDS
from hostscope.model.text import decode
from hostscope.platforms.linux import reread, translate
from hostscope.platforms.linux.clock import PAGE_BYTES, TICK_NS, Boot, ticks_now
from hostscope.platforms.linux.context import Context, ContextFacts, Contexts
from hostscope.platforms.linux.names import Terminals
from hostscope.platforms.linux.parse import (
    PF_EXITING,
    PF_KTHREAD,
    POLICIES,
    SECCOMP,
    Credentials,
    SecurityLines,
)
from hostscope.platforms.linux.procfs import STATUS_FIELDS, ProcRows, without_cgroup
from hostscope.platforms.linux.read import list_pids, read_file
from hostscope.platforms.linux.task_record import (
    ACTIVITY,
    HEADER,
    HEADER_BYTES,
    IO,
    MEMORY,
    NO_ANSWER,
    PID,
    PID_AT,
    SESSION,
    SIZES,
    Facts,
    Flag,
    join_path,
    oom_score,
    parse_context,
    parse_schedule,
    parse_state,
    split_runtime,
)
from hostscope.platforms.tally import Tally

DUMPABLE = {0: "no", 1: "user", 2: "root"}
_DELETED = b" (deleted)"

# Plain integers: testing against an enum's member costs as much as the rest of a row.
_NO_MM, _NO_IO, _NO_EXE = int(Flag.NO_MM), int(Flag.NO_IO), int(Flag.NO_EXE)
_ARGV_FROM_PROC = int(Flag.ARGV_CUT | Flag.ARGV_OVERWRITTEN | Flag.ARGV_UNREAD)
_EXE_CUT, _EXE_UNLINKED, _EXE_NAMELESS = int(Flag.EXE_CUT), int(Flag.EXE_UNLINKED), int(Flag.EXE_NAMELESS)
_EXE_MARKS = _NO_EXE | _EXE_CUT | _EXE_UNLINKED | _EXE_NAMELESS
_CWD_MARKS = int(Flag.CWD_CUT | Flag.CWD_UNLINKED | Flag.NO_FS)
_ROOT_MARKS = int(Flag.ROOT_CUT | Flag.ROOT_UNLINKED | Flag.NO_FS)
_CUTS = {"cwd": int(Flag.CWD_CUT | Flag.NO_FS), "root": int(Flag.ROOT_CUT | Flag.NO_FS)}
_PLACE_MARKS = _NO_MM | _EXE_MARKS | _CWD_MARKS | _ROOT_MARKS
_NAME_ELSEWHERE, _NEVER_KILLED = int(Flag.NAME_ELSEWHERE), int(Flag.OOM_EXEMPT | Flag.NO_MM)
_WHOLE_ROW = int(Flag.THREADS_CUT | Flag.MM_CHANGED | Flag.GROUPS_CUT | Flag.FDS_CUT)

_NO_IO_GAP = Gap("io", Reason.UNSUPPORTED, "the kernel was built without TASK_IO_ACCOUNTING")

_EXEMPT = -1
"""In place of pages: never killed for memory."""

_Place = tuple[int, int, int, int | None]
"""Address of a context, inner pid, tracer, pages that count when memory runs out."""

_Mark = tuple[bytes, bytes, int, str | None]
"""Context slice, groups, whether it is exiting (then v1 control groups show as the root), label."""


class Places(NamedTuple):
    """What stands behind the arguments in a record; None where it is not wanted."""

    exe: Executable | None
    cwd: str | None
    root: str | None
    groups: bytes
    raw: tuple[bytes, bytes, bytes]
    """Of exe, cwd and root."""


class IteratorRows:
    """Rows of one sweep. Not for use by several threads.

    Everything that recurs is kept by the slice of the record that it came from, so a row costs one unpacking, a few
    look-ups and the records that hold its own numbers.
    """

    def __init__(
        self,
        boot: Boot,
        contexts: Contexts,
        terminals: Terminals,
        wanted: frozenset[str],
        labels: bool,
        proc: ProcRows,
    ) -> None:
        """`proc` reads the few rows that only /proc can tell."""
        self._boot = boot
        self._contexts = contexts
        self._terminals = terminals
        self._wanted = wanted
        self._label = reread.read_label if labels and "lsm" in wanted else None
        self._proc = proc
        self._total_pages = reread.read_total_pages() if "oom" in wanted else None
        self._pids: set[int] = set()
        self._threads = 0
        self._states: dict[bytes, tuple[str, int]] = {}
        self._places: dict[tuple[bytes, bytes], Places] = {}
        self._schedules: dict[bytes, Schedule] = {}
        self._sessions: dict[bytes, Session] = {}
        self._memories: dict[bytes, tuple[Memory, int | None]] = {}
        self._ios: dict[bytes, Io] = {}
        self._activities: dict[bytes, Activity] = {}
        self._executables: dict[bytes, Executable] = {}
        self._identified: dict[tuple[int, int, bytes], Executable] = {}
        self._paths: dict[bytes, str] = {b"": "/"}
        self._cgroups: dict[tuple[int, int], bytes] = {}
        self._known: dict[_Mark, Context] = {}
        self._variants: dict[_Place, LinuxContext] = {}
        self._varied: list[LinuxContext] = []
        for field in FIELDS:  # as attributes: a look-up in a set costs twice as much, fifteen times a row
            setattr(self, f"_has_{field}", field in wanted)
        self._has_status = bool(wanted & STATUS_FIELDS)

    if TYPE_CHECKING:
        _has_argv: bool
        _has_exe: bool
        _has_cwd: bool
        _has_root: bool
        _has_session: bool
        _has_threads: bool
        _has_schedule: bool
        _has_cpu: bool
        _has_memory: bool
        _has_memory_detail: bool
        _has_io: bool
        _has_open_files: bool
        _has_activity: bool
        _has_security: bool
        _has_digest: bool

    def sweep(self, chunks: Iterator[bytes], tally: Tally) -> Iterator[Process]:
        """All processes in ascending pid order, then those that the iterator left out. `chunks` is one pass of a
        `TaskIterator`.

        Cost: no system call a row, one for each 32 KiB of records; see the module for the exceptions.
        """
        begun = ticks_now()
        for chunk in chunks:
            if not self._pids and PID.unpack_from(chunk, PID_AT)[0] != 1:
                yield from self._left_out([1], begun, tally)
            # All at once: however long a reader takes, what is left to /proc is read moments after the record.
            yield from list(self.decode(chunk, tally))
        if self._threads != reread.count_threads():
            yield from self._left_out([pid for pid in list_pids() if pid not in self._pids], begun, tally)

    def _left_out(self, pids: list[int], begun: int, tally: Tally) -> Iterator[Process]:
        for process in older(self._proc.sweep(tally, pids), begun, tally):
            self._pids.add(process.key.pid)
            self._threads += reread.count_threads_of(process.key.pid)
            yield process

    def decode(self, chunk: bytes, tally: Tally) -> Iterator[Process]:
        """The processes of one chunk of whole records.

        Raises:
            Unavailable: they are not whole.
        """
        at, end, unpack, row, seen = 0, len(chunk), HEADER.unpack_from, self._row, self._pids.add
        while at < end:
            if end - at < HEADER_BYTES or (fields := unpack(chunk, at))[0] < HEADER_BYTES:
                raise Unavailable("the iterator's records make no sense")
            seen(fields[5])
            self._threads += fields[7]
            if fields[1] & _WHOLE_ROW or self._has_memory_detail:
                yield from self._proc.sweep(tally, (fields[5],))
            else:
                tally.seen += 1
                try:
                    yield row(chunk, at + HEADER_BYTES, fields)
                except (ValueError, struct.error) as nonsense:
                    tally.failed += 1
                    tally.note(f"process {fields[5]}: {nonsense}")
            at += fields[0]

    def _row(self, chunk: bytes, argv_at: int, fields: tuple[Any, ...]) -> Process:
        (
            size, flags, argv_size, sizes, fds, pid, ppid, threads, inner_pid, tracer, state_slice, started, comm,
            user, system, runtime, last_user, last_system, children_user, children_system,
            activity_slice, memory_slice, io_slice, _, context_slice, schedule_slice, session_slice, inode, device, _,
        ) = fields  # fmt: skip
        state, task_flags = self._states.get(state_slice) or self._state(state_slice)
        start, boot, has_mm = started // TICK_NS, self._boot, not flags & _NO_MM
        gaps: list[Gap] = []
        label = self._label(pid, gaps) if self._label else None
        tail = (sizes, chunk[argv_at + (argv_size + 7 & -8) : argv_at - HEADER_BYTES + size])
        places = self._places.get(tail) or self._place(tail)
        mark = (context_slice, places.groups, task_flags & PF_EXITING, label)
        context = self._known.get(mark) or self._context(mark, pid, gaps)
        linux = context.linux
        memory, pages = self._memories.get(memory_slice) or self._memory(memory_slice)
        if self._total_pages is None:
            pages = None
        elif flags & _NEVER_KILLED or pid == 1:
            pages = _EXEMPT
        if inner_pid or tracer or pages is not None:
            place = (id(linux), inner_pid, tracer, pages)
            linux = self._variants.get(place) or self._variant(place, linux)
        if flags & _NO_IO and self._has_io:
            gaps.append(_NO_IO_GAP)
        if flags & _PLACE_MARKS or self._has_digest:
            places = self._look_closer(places, flags, (pid, start, device, inode), gaps)
        if self._has_cpu:
            user, system = split_runtime(user, system, runtime, last_user, last_system)
        argv: tuple[str, ...] | None = None
        if self._has_argv and has_mm:
            if flags & _ARGV_FROM_PROC:
                argv = reread.read_argv(pid, start, gaps)
            else:
                argv = tuple(decode(chunk[argv_at : argv_at + argv_size - 1]).split("\0")) if argv_size else ()
        return Process(
            ProcessKey(boot.boot_id, boot.pid_ns, pid, start),
            ppid,
            (flags & _NAME_ELSEWHERE and reread.read_name(pid)) or decode(comm.partition(b"\0")[0]),
            state,
            bool(task_flags & PF_KTHREAD),
            boot.at_ns + start * TICK_NS,
            places.exe,
            argv,
            places.cwd,
            places.root,
            context.owner,
            context.ids,
            context.groups,
            (self._sessions.get(session_slice) or self._session(session_slice)) if self._has_session else None,
            threads if self._has_threads else None,
            (self._schedules.get(schedule_slice) or self._schedule(schedule_slice)) if self._has_schedule else None,
            Cpu(user, system, children_user, children_system) if self._has_cpu else None,
            memory if self._has_memory and has_mm else None,
            (self._ios.get(io_slice) or self._io(io_slice)) if self._has_io and not flags & _NO_IO else None,
            fds if self._has_open_files else None,
            (self._activities.get(activity_slice) or self._activity(activity_slice)) if self._has_activity else None,
            context.security,
            context.container,
            context.service,
            None,
            None,
            linux,
            None,
            None,
            tuple(gaps) if gaps else (),
        )

    def _state(self, raw: bytes) -> tuple[str, int]:
        found = self._states[raw] = parse_state(raw)
        return found

    def _place(self, mark: tuple[bytes, bytes]) -> Places:
        at, parts = 0, []
        for size in SIZES.unpack(mark[0]):
            parts.append(mark[1][at : at + size])
            at += size + 7 & -8
        exe, cwd, root, groups = parts
        found = self._places[mark] = Places(
            (self._executables.get(exe) or self._exe(exe)) if self._has_exe else None,
            (self._paths.get(cwd) or self._path(cwd)) if self._has_cwd else None,
            (self._paths.get(root) or self._path(root)) if self._has_root else None,
            groups,
            (exe, cwd, root),
        )
        return found

    def _look_closer(self, places: Places, flags: int, who: tuple[int, int, int, int], gaps: list[Gap]) -> Places:
        """Where paths are not all there is to tell. `who`: pid and start, device and inode as the kernel has them."""
        if flags & _NO_MM:
            return places._replace(exe=None, cwd=None, root=None)
        exe, cwd, root = places.raw
        if self._has_exe and (flags & _EXE_MARKS or self._has_digest):
            places = places._replace(exe=self._marked_exe(flags, exe, who, gaps))
        if self._has_cwd and flags & _CWD_MARKS:
            places = places._replace(cwd=self._link("cwd", flags, who[0], who[1], cwd, gaps))
        if self._has_root and flags & _ROOT_MARKS:
            places = places._replace(root=self._link("root", flags, who[0], who[1], root, gaps))
        return places

    def _path(self, raw: bytes) -> str:
        found = self._paths[raw] = decode(join_path(raw))
        return found

    def _schedule(self, raw: bytes) -> Schedule:
        policy, priority, nice, realtime = parse_schedule(raw)
        found = self._schedules[raw] = Schedule(POLICIES.get(policy, f"policy {policy}"), priority, nice, realtime)
        return found

    def _session(self, raw: bytes) -> Session:
        session, group, terminal = SESSION.unpack(raw)
        found = self._sessions[raw] = Session(session, group, self._terminals.name(terminal) if terminal else None)
        return found

    def _memory(self, raw: bytes) -> tuple[Memory, int | None]:
        """With the pages that count when memory runs out."""
        virtual, peak, file, anon, swap, shmem, highest, tables = MEMORY.unpack(raw)
        resident = file + anon + shmem
        sizes = (virtual, resident, file + shmem, swap, max(peak, virtual), max(highest, resident))
        memory = Memory(*(pages * PAGE_BYTES for pages in sizes))
        found = self._memories[raw] = (memory, resident + swap + tables // PAGE_BYTES)
        return found

    def _io(self, raw: bytes) -> Io:
        read_calls, written_calls, read, written = IO.unpack(raw)
        found = self._ios[raw] = Io(read, written, read_calls, written_calls)
        return found

    def _activity(self, raw: bytes) -> Activity:
        found = self._activities[raw] = Activity(*ACTIVITY.unpack(raw))
        return found

    def _variant(self, place: _Place, linux: LinuxContext) -> LinuxContext:
        """The same context with what differs between processes that share it. Kept for good, as `place` begins with
        its address, which nothing else may get."""
        self._varied.append(linux)
        _, inner_pid, tracer, pages = place
        found = self._variants[place] = msgspec.structs.replace(
            linux,
            inner_pid=inner_pid or None if self._has_status else None,
            tracer_pid=tracer or None if self._has_security else None,
            oom_score=self._oom_score(linux, pages),
        )
        return found

    def _oom_score(self, linux: LinuxContext, pages: int | None) -> int | None:
        if pages is None or self._total_pages is None:
            return None
        return 0 if pages == _EXEMPT else oom_score(linux.oom_score_adj or 0, pages, self._total_pages)

    def _context(self, mark: _Mark, pid: int, gaps: list[Gap]) -> Context:
        raw, groups, exiting, label = mark
        facts = parse_context(raw)
        wanted, missing = self._wanted, len(gaps)
        cgroup = self._cgroup(facts.css_set, exiting, pid, gaps) if "cgroup" in wanted else None
        namespaces = tuple(inode or None for inode in facts.namespaces)
        context = self._contexts.build(
            mark,
            ContextFacts(
                credentials=Credentials(facts.uids, facts.gids) if self._has_status else None,
                groups=tuple(memoryview(groups).cast("I")) if "groups" in wanted else None,
                security=_security_lines(facts) if self._has_security else None,
                login_uid=facts.login_uid if self._has_security else None,
                audit_session=facts.audit_session if self._has_security else None,
                label=label,
                namespaces=namespaces if wanted & {"namespaces", "security"} else None,
                cgroup=cgroup,
                dumpable=DUMPABLE.get(facts.dumpable) if self._has_security else None,
                oom_score_adj=facts.oom_score_adj if "oom" in wanted else None,
            ),
        )
        if len(gaps) == missing:
            self._known[mark] = context
        return context

    def _cgroup(self, css_set: int, exiting: int, pid: int, gaps: list[Gap]) -> bytes | None:
        """Content of /proc/PID/cgroup, read once for each set of control groups."""
        place = (css_set, exiting)
        if place not in self._cgroups:
            try:
                self._cgroups[place] = read_file(f"/proc/{pid}/cgroup")
            except OSError as failed:
                gap = translate.gap("linux.cgroup", failed)
                gaps += (gap, *without_cgroup(gap))
                return None
        return self._cgroups[place]

    def _exe(self, raw: bytes) -> Executable:
        found = self._executables[raw] = Executable(decode(join_path(raw)))
        return found

    def _marked_exe(self, flags: int, raw: bytes, who: tuple[int, int, int, int], gaps: list[Gap]) -> Executable | None:
        """One that has no name any more, or whose device and inode are wanted as stat(2) gives them, which some file
        systems make up (btrfs, overlayfs). `who`: pid and start, device and inode as the kernel has them."""
        if flags & _NO_EXE:
            gaps.append(Gap("exe", Reason.GONE))
            return None
        place, plain = (who[2], who[3], raw), not flags & _EXE_MARKS
        found = self._identified.get(place) if plain else None
        if found is None:
            unlinked = flags & (_EXE_UNLINKED | _EXE_NAMELESS) and not flags & _EXE_CUT
            path = join_path(raw) if unlinked else None
            found = reread.read_exe(who[0], who[1], path, self._has_digest, gaps)
            if found is not None and plain:
                self._identified[place] = found
        return found

    def _link(self, name: str, flags: int, pid: int, start: int, raw: bytes, gaps: list[Gap]) -> str | None:
        """A directory that was removed, or one whose path the kernel program could not tell."""
        if flags & _CUTS[name]:
            return reread.read_link(name, pid, start, gaps)
        return decode(join_path(raw) + _DELETED)


def older(rows: Iterable[Process], begun: int, tally: Tally) -> Iterator[Process]:
    """Those that the iterator should have shown, as they started before tick `begun`, when the sweep did.

    No kernel should leave one out; one that does hides it from all eBPF tools, so it is said.
    """
    for process in rows:
        if process.key.start < begun:
            tally.note(f"process {process.key.pid} is missing from the kernel's iterator; it was read from /proc")
            yield process
        else:
            tally.seen -= 1  # not of this sweep


def _security_lines(facts: Facts) -> SecurityLines:
    seccomp = None if facts.seccomp == NO_ANSWER else SECCOMP.get(facts.seccomp, f"mode {facts.seccomp}")
    inheritable, permitted, effective, bounding, ambient = facts.capabilities
    return SecurityLines(inheritable, permitted, effective, bounding, ambient, facts.no_new_privs, seccomp)
