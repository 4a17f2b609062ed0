"""Every process of a Windows host, by the better of two methods."""

from collections.abc import Iterator
from functools import cache

from hostscope.errors import Error, Gone, UsageError
from hostscope.model.detail import ProcessDetail
from hostscope.model.host import ProcessView
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms import base_memory, base_network
from hostscope.platforms.base import Columns
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.facts import read_toolhelp
from hostscope.platforms.windows.hosting import Hosts, Read
from hostscope.platforms.windows.native import handles
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.parse_processes import Listed
from hostscope.platforms.windows.privileges import READ_OTHERS, Privileges
from hostscope.platforms.windows.process_list import read_processes
from hostscope.platforms.windows.process_rows import ProcessRows, Started
from hostscope.platforms.windows.security_context import SecurityContexts
from hostscope.platforms.windows.services import services_by_pid

METHODS = ("native", "toolhelp")
"""Best first: NtQuerySystemInformation, and snapshots of Toolhelp."""


class Processes:
    """Implements `hostscope.platforms.base.Processes`."""

    def __init__(
        self,
        boot: Boot,
        contexts: SecurityContexts,
        privileges: Privileges,
        memory: base_memory.Memory,
        sockets: base_network.Sockets,
        services: Read = services_by_pid,
    ) -> None:
        """`memory` and `sockets` tell their part of what one process holds, `services` what processes host."""
        self._services = services
        self._boot = boot
        self._contexts = contexts
        self._privileges = privileges
        self._memory = memory
        self._sockets = sockets

    def sweep(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        """All processes, in ascending pid order; `tally` counts what happened and is whole at the end.

        Nothing is raised or opened before the first row is asked for, and all of it is let go of with the last one, or
        when the iterator is closed.

        Raises:
            UsageError: `request.method` is no method of this system.
            Denied, NativeError, Unavailable: there is no list of processes; with the first row.
        """
        _check(request.method)
        return self._rows(request, tally)

    def _rows(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        listing, started = _list(request.method, tally)
        try:
            with self._privileges.using(READ_OTHERS, "read other users' processes"):
                yield from self._made(request, started).sweep(listing, tally)
        finally:  # what could not be written to the audit trail belongs to the answer
            for note in self._privileges.notes:
                tally.note(note)

    def _made(self, request: ProcessRequest, started: Started) -> ProcessRows:
        named = request.windows.token_groups
        contexts = self._contexts if named else self._contexts.without_group_names()
        hosts = Hosts(self._services) if request.windows.services else None
        return ProcessRows(self._boot, contexts, request.wanted, started, hosts)

    def columns(self, request: ProcessRequest, tally: Tally) -> Columns:
        """The same answer, column by column, for analysis."""
        from hostscope.platforms.columnar import columns_of

        return columns_of(self.sweep(request, tally), request.wanted)

    def read(self, pid: int, request: ProcessRequest) -> Process:
        """One process; its parent is looked up in the list of all.

        Raises:
            Gone, Denied, Unavailable
            UsageError: `request.method` is no method of this system.
        """
        _check(request.method)
        listing, started = _list(request.method, Tally())
        listed = next((one for one in listing if one.pid == pid), None)
        if listed is None:
            raise Gone(f"process {pid}: there is no such process")
        with self._privileges.using(READ_OTHERS, f"read process {pid}"):
            try:
                row = self._made(request, started).row(listed)
                return self._contexts.with_threads(row, [thread.tid for thread in listed.thread_entries()])
            except OSError as failed:
                raise translate.error("OpenProcess", failed, pid) from failed

    def detail(self, key: ProcessKey, parts: frozenset[str]) -> ProcessDetail:
        """What one process holds; `parts` are field names of `ProcessDetail`.

        Raises:
            Gone: it ended.
            Mismatch: the pid is another process's now.
        """
        from hostscope.platforms.windows.detail import Details

        return Details(self._boot, self._privileges, self._memory, self._sockets).read(key, parts)

    def views(self) -> Iterator[ProcessView]:
        """The pids that each way of looking shows; a hidden process is missing from some."""
        from hostscope.platforms.windows import views

        with self._privileges.using(READ_OTHERS, "look for hidden processes"):
            yield from views.views()


def _check(method: str | None) -> None:
    if method is not None and method not in METHODS:
        raise UsageError(f"there is no method {method!r}", f"methods here: {', '.join(METHODS)}")


def _list(method: str | None, tally: Tally) -> tuple[list[Listed], Started]:
    """The processes, and when each started."""
    if method == "toolhelp":
        return _by_toolhelp("asked for by --method", tally)
    try:
        listing = read_processes()
    except Error as failed:
        if method == "native":
            raise
        return _by_toolhelp(f"the kernel's list cannot be had: {failed.message}", tally)
    tally.method, tally.method_reason = "native", None
    return listing, {listed.pid: listed.created for listed in listing}.get


def _by_toolhelp(reason: str, tally: Tally) -> tuple[list[Listed], Started]:
    tally.method, tally.method_reason = "toolhelp", reason
    try:
        return sorted(read_toolhelp(), key=_pid), cache(_started)
    except OSError as failed:
        raise translate.error("CreateToolhelp32Snapshot", failed) from failed


def _pid(listed: Listed) -> int:
    return listed.pid


def _started(pid: int) -> int | None:
    """When a process started, by opening it; None where that cannot be known."""
    try:
        with handles.opened(pid, handles.PROCESS_QUERY_LIMITED_INFORMATION) as handle:
            return native.times(handle)[0]
    except OSError:
        return None
