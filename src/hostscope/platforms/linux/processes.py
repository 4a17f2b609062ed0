"""Every process of a Linux host, by the better of two methods."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

from hostscope.errors import Error, Gone, Mismatch, Unavailable, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.security import HostSecurity
from hostscope.platforms.linux import method, translate
from hostscope.platforms.linux.clock import Boot, ticks_now
from hostscope.platforms.linux.context import Contexts
from hostscope.platforms.linux.names import Terminals
from hostscope.platforms.linux.parse import parse_stat, parse_tgid
from hostscope.platforms.linux.privileges import READ_OTHERS, Privileges
from hostscope.platforms.linux.procfs import ProcRows
from hostscope.platforms.linux.read import PATH_ONLY, read_file
from hostscope.platforms.linux.security import proc_options
from hostscope.platforms.posix_accounts import Accounts
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:  # what few commands ask is imported when they ask
    from hostscope.model.detail import ProcessDetail
    from hostscope.model.host import ProcessView
    from hostscope.platforms.base import Columns, Security
    from hostscope.platforms.linux.containers import Containers
    from hostscope.platforms.linux.task_columns import TaskColumns

OPEN_TO_ALL = frozenset({
    "state", "argv", "owner", "groups", "session", "threads", "schedule", "cpu", "memory", "activity", "ancestry",
})  # fmt: skip
"""Fields whose files below /proc/PID anybody may read, unless hidepid is set: stat, status, statm and cmdline."""

EFFECT = "an eBPF program in the kernel, kept for the next sweep while the session lives"


class Processes:
    """Implements `hostscope.platforms.base.Processes`."""

    def __init__(self, boot: Boot, containers: "Containers", security: "Security", privileges: Privileges) -> None:
        self._boot = boot
        self._containers = containers
        self._security = security
        self._privileges = privileges
        self._accounts = Accounts()
        self._terminals = Terminals()
        self._programs = method.Programs()

    def sweep(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        """All processes, in ascending pid order; `tally` counts what happened and is whole at the end.

        Nothing is loaded, raised or opened before the first row is asked for, and all of it is let go of with the
        last one, or when the iterator is closed.

        Raises:
            UsageError: `request.method` is no method of this system.
            Unsupported, Denied: the named method cannot be used here; with the first row.
        """
        method.check(request.method)
        return self._rows(request, tally)

    def _rows(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        state = self._security.state()
        tally.hidden = hiding(state)
        sweep = self._open(request, tally)
        try:
            if sweep is None:
                yield from self._by_proc(request, tally, state)
            else:
                yield from self._by_iterator(sweep, request, tally, state)
        finally:
            self._note(tally)

    def _open(self, request: ProcessRequest, tally: Tally, columns: bool = False) -> method.Sweep | None:
        """The iterator where it is the method of choice; whoever gets it closes it."""
        sweep, tally.method_reason = method.open_iterator(request, self._privileges, self._programs, columns)
        tally.method = "iterator" if sweep else "proc"
        if sweep is not None:
            tally.method_reason = sweep.iterator.plain_reason
            tally.effects.append(EFFECT)
            if slow := request.wanted & method.SLOW_FIELDS:
                tally.note(f"for {', '.join(sorted(slow))} every process was read from /proc after all")
            if sweep.iterator.cache_note:  # somebody may have changed it
                tally.note(f"eBPF programs: {sweep.iterator.cache_note}")
        return sweep

    def _by_proc(self, request: ProcessRequest, tally: Tally, state: HostSecurity) -> Iterator[Process]:
        with self._reading_others() if needs_privilege(request.wanted) else nullcontext():
            yield from self._proc_rows(request, state).sweep(tally)

    def _reading_others(self) -> AbstractContextManager[None]:
        return self._privileges.using(READ_OTHERS, "read other users' processes")

    def _by_iterator(
        self, sweep: method.Sweep, request: ProcessRequest, tally: Tally, state: HostSecurity
    ) -> Iterator[Process]:
        from hostscope.platforms.linux.iterator_rows import IteratorRows

        with self._programs.lend(sweep), self._reading_others():
            contexts = self._contexts(request, state)
            proc = ProcRows(self._boot, contexts, self._terminals, request.wanted, has_labels(state))
            rows = IteratorRows(self._boot, contexts, self._terminals, request.wanted, has_labels(state), proc)
            yield from rows.sweep(sweep.chunks, tally)

    def _note(self, tally: Tally) -> None:
        """What could not be written to the audit trail belongs to the answer."""
        for note in self._privileges.notes:
            tally.note(note)

    def _proc_rows(self, request: ProcessRequest, state: HostSecurity) -> ProcRows:
        contexts = self._contexts(request, state)
        return ProcRows(self._boot, contexts, self._terminals, request.wanted, has_labels(state))

    def _contexts(self, request: ProcessRequest, state: HostSecurity) -> Contexts:
        containers = self._containers if request.linux.container_state else None
        return Contexts(self._accounts, containers, state, request.wanted)

    def columns(self, request: ProcessRequest, tally: Tally) -> "Columns":
        """The same answer, column by column, for analysis."""
        from hostscope.platforms.columnar import columns_of
        from hostscope.platforms.linux.task_columns import task_columns

        method.check(request.method)
        state = self._security.state()
        tally.hidden = hiding(state)
        sweep = self._open(request, tally, columns=True)
        try:
            if sweep is None:
                return columns_of(self._by_proc(request, tally, state), request.wanted)
            begun = ticks_now()
            with self._programs.lend(sweep):
                found = task_columns(sweep.chunks, self._boot, request.wanted)
            return self._completed(found, begun, request, tally, state)
        finally:
            self._note(tally)

    def _completed(
        self, found: "TaskColumns", begun: int, request: ProcessRequest, tally: Tally, state: HostSecurity
    ) -> "Columns":
        """With what only /proc can tell: rows that are not whole, and processes that the iterator left out."""
        from hostscope.platforms.columnar import columns_of, merge
        from hostscope.platforms.linux.iterator_rows import older
        from hostscope.platforms.linux.task_columns import left_out

        pids, rows = found.columns["pid"], self._proc_rows(request, state)
        with self._reading_others():
            again = rows.sweep(tally, pids[~found.whole].tolist())
            missing = older(rows.sweep(tally, left_out(pids, found.threads)), begun, tally)
            others = columns_of(chain(again, missing), request.wanted)
        tally.seen += int(found.whole.sum())
        return merge(found.columns, found.whole, others)

    def read(self, pid: int, request: ProcessRequest) -> Process:
        """One process, from /proc.

        Raises:
            Gone, Denied, Unavailable
            UsageError: `request.method` is no method of this system.
        """
        method.check(request.method)
        with _translated(pid), self._privileges.using(READ_OTHERS, f"read process {pid}"):
            proc = os.open("/proc", PATH_ONLY)
            try:
                _refuse_thread(pid)
                return self._proc_rows(request, self._security.state()).read(proc, pid)
            finally:
                os.close(proc)

    def detail(self, key: ProcessKey, parts: frozenset[str]) -> "ProcessDetail":
        """What one process holds; `parts` are field names of `ProcessDetail`.

        Raises:
            Gone: it ended.
            Mismatch: the pid is another process's now.
        """
        from hostscope.platforms.linux import detail

        self._check(key)
        with self._privileges.using(READ_OTHERS, f"read process {key.pid}"):
            found = detail.read_detail(key.pid, parts)
        self._check(key)
        return found

    def _check(self, key: ProcessKey) -> None:
        """Two looks, before and after, frame the reading: the pid stayed with one process."""
        with _translated(key.pid):
            start = parse_stat(read_file(f"/proc/{key.pid}/stat")).start
        if not self._boot.key(key.pid, start).same(key):
            raise Mismatch(f"process {key.pid} is not the one that was meant: its start differs")

    def views(self) -> "Iterator[ProcessView]":
        """The pids that each way of looking shows; a hidden process is missing from some."""
        from hostscope.platforms.linux import views

        return views.views(self._iterator_pids, hiding(self._security.state()))

    def _iterator_pids(self) -> frozenset[int]:
        """What the iterator itself shows: `sweep` adds from /proc what it leaves out, so that no row is missing."""
        from hostscope.platforms.linux.task_record import record_pids

        sweep, _ = method.open_iterator(
            ProcessRequest(fields=frozenset(), method="iterator"), self._privileges, self._programs
        )
        if sweep is None:
            raise Unsupported("the kernel iterator cannot be used here")
        with self._programs.lend(sweep):
            return frozenset(pid for chunk in sweep.chunks for pid in record_pids(chunk))


def needs_privilege(wanted: frozenset[str]) -> bool:
    """Whether reading these fields of other users' processes takes one; also when that cannot be told."""
    if not wanted <= OPEN_TO_ALL:
        return True
    try:
        return proc_options(read_file("/proc/self/mountinfo"))["hidepid"] != "off"
    except (OSError, ValueError):
        return True


def hiding(state: HostSecurity) -> str | None:
    """Why a listing of /proc lacks rows. Under ``noaccess`` all processes are listed: those of others are denied."""
    if state.hidepid in (None, "noaccess"):
        return None
    return f"/proc is mounted with hidepid={state.hidepid}: processes of other users do not show"


@contextmanager
def _translated(pid: int) -> Iterator[None]:
    """The system's errors while one process is read, as ours."""
    try:
        yield
    except Error:
        raise  # ours resemble the system's
    except OSError as failed:
        raise translate.error("read", failed, pid) from failed
    except ValueError as nonsense:
        raise Unavailable(f"process {pid}: {nonsense}") from nonsense


def _refuse_thread(pid: int) -> None:
    """/proc does not list threads, but has a directory for each that looks like a process's.

    Raises:
        Gone: the number is a thread's.
        OSError: there is no such directory, or it is refused.
        ValueError: the kernel's text could not be parsed.
    """
    process = parse_tgid(read_file(f"/proc/{pid}/status"))
    if process != pid:
        raise Gone(f"process {pid}: there is no such process", f"{pid} is a thread of process {process}")


def has_labels(state: HostSecurity) -> bool:
    """Whether a security module that labels processes is active; else /proc/PID/attr/current gives EINVAL."""
    if state.lsms is not None:
        return bool({"selinux", "apparmor", "smack"} & set(state.lsms))
    try:
        with open("/proc/self/attr/current", "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False
