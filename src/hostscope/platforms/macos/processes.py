"""Every process of a Mac, by libproc or from the kernel's process table."""

from collections.abc import Iterator

from hostscope.errors import Mismatch, UsageError
from hostscope.model.detail import ProcessDetail
from hostscope.model.host import ProcessView
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Columns
from hostscope.platforms.macos import process_list, translate
from hostscope.platforms.macos.attempts import Attempts
from hostscope.platforms.macos.bundles import Bundles
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.context import Contexts, Jobs
from hostscope.platforms.macos.names import Terminals
from hostscope.platforms.macos.native import libproc
from hostscope.platforms.macos.privileges import READ_OTHERS, Privileges
from hostscope.platforms.macos.process_rows import ProcessRows
from hostscope.platforms.macos.questions import Questions
from hostscope.platforms.macos.security import read_sip
from hostscope.platforms.posix_accounts import Accounts
from hostscope.platforms.tally import Tally

METHODS = ("libproc", "sysctl")
"""Best first. Where the kernel refuses libproc a process, its row comes from the table too."""
SWITCHES = {
    "collect_code_signing": "signatures",
    "collect_entitlements": "entitlements",
    "check_sip_protection": "System Integrity Protection",
    "collect_bundle_info": "bundles",
    "handle_sandboxed_processes": "sandboxes",
}


class Processes:
    """Implements `hostscope.platforms.base.Processes`."""

    def __init__(self, boot: Boot, privileges: Privileges, jobs: Jobs | None = None) -> None:
        """`jobs` gives the labels of launchd's jobs by pid."""
        self._boot = boot
        self._privileges = privileges
        self._jobs = jobs
        self._accounts = Accounts()
        self._terminals = Terminals()
        self._bundles = Bundles()

    def sweep(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        """All processes, in ascending pid order; `tally` counts what happened and is whole at the end.

        Raises:
            UsageError: `request.method` is no method of this system.
            Denied, NativeError: there is no list of processes; with the first row.
        """
        _check(request.method)
        return self._rows(request, tally)

    def _rows(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        tally.method = request.method or METHODS[0]
        attempts = Attempts()
        try:
            with self._privileges.using(READ_OTHERS, "read other users' processes"):
                rows = self._builder(request, attempts, tally)
                pids = _pids() if tally.method == "libproc" else sorted(rows.table())
                if request.skip_system_processes and pids[:1] == [0]:
                    tally.skipped += 1
                    pids = pids[1:]
                yield from rows.sweep(pids, tally)
        finally:
            attempts.note(tally)
            for note in self._privileges.notes:  # what could not be written to the trail belongs to the answer
                tally.note(note)

    def _builder(self, request: ProcessRequest, attempts: Attempts, tally: Tally) -> ProcessRows:
        questions, contexts = Questions(), None
        if request.method in (None, "libproc"):
            sip = self._sip(request, attempts, tally)
            contexts = Contexts(questions, attempts, request.macos, request.wanted, sip, self._bundles, self._jobs)
        return ProcessRows(self._boot, self._accounts, self._terminals, request.wanted, questions, attempts, contexts)

    def _sip(self, request: ProcessRequest, attempts: Attempts, tally: Tally) -> int | None:
        if "security" not in request.wanted:
            return None
        switched_off = [text for name, text in SWITCHES.items() if not getattr(request.macos, name)]
        if switched_off:
            tally.note(f"not asked for: {', '.join(switched_off)}")
        if not request.macos.check_sip_protection:
            return None
        gaps = []  # type: ignore[var-annotated]
        found = attempts.attempt("SIP", "macos.sip_protected", gaps, read_sip)
        tally.count_gaps(gaps)
        return found

    def columns(self, request: ProcessRequest, tally: Tally) -> Columns:
        """The same answer, column by column, for analysis."""
        from hostscope.platforms.columnar import columns_of

        return columns_of(self.sweep(request, tally), request.wanted)

    def read(self, pid: int, request: ProcessRequest) -> Process:
        """One process.

        Raises:
            Gone, Denied, NativeError
            UsageError: `request.method` is no method of this system.
        """
        _check(request.method)
        with self._privileges.using(READ_OTHERS, f"read process {pid}"):
            return self._builder(request, Attempts(), Tally()).read(pid)

    def detail(self, key: ProcessKey, parts: frozenset[str]) -> ProcessDetail:
        """What one process holds; `parts` are field names of `ProcessDetail`.

        Raises:
            Gone: it ended.
            Mismatch: the pid is another process's now.
        """
        from hostscope.platforms.macos.detail import read_detail

        self._check(key)
        with self._privileges.using(READ_OTHERS, f"read process {key.pid}"):
            found = read_detail(key, parts)
        self._check(key)
        return found

    def _check(self, key: ProcessKey) -> None:
        """Two looks, before and after, frame the reading: the pid stayed with one process."""
        if not process_list.read_key(self._boot, key.pid).same(key):
            raise Mismatch(f"process {key.pid} is not the one that was meant: its start differs")

    def views(self) -> Iterator[ProcessView]:
        """The pids that each way of looking shows; a hidden process is missing from some."""
        from hostscope.platforms.macos.views import views

        return views()


def _pids() -> list[int]:
    try:
        return sorted(libproc.list_pids())
    except OSError as failed:
        raise translate.error("proc_listpids", failed) from failed


def _check(method: str | None) -> None:
    if method is not None and method not in METHODS:
        raise UsageError(f"there is no method {method} of listing processes here", f"one of: {', '.join(METHODS)}")
