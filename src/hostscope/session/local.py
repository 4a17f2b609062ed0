"""The session with this host, in this process."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from msgspec.structs import replace

from hostscope.collectors import COLLECTORS
from hostscope.collectors.samples import Samples
from hostscope.errors import Denied, Error, UsageError
from hostscope.model.request import ProcessRequest
from hostscope.platforms.tally import Tally
from hostscope.session.exits import Exit
from hostscope.session.network import NetworkVerbs
from hostscope.session.response import ResponseVerbs

if TYPE_CHECKING:
    from hostscope.model.answer import Answer
    from hostscope.model.container import Container
    from hostscope.model.coverage import Coverage
    from hostscope.model.event import Event
    from hostscope.model.host import Ability, Finding, HostCounters, NamedCounter
    from hostscope.model.inspection import HostInspection, ProcessInspection
    from hostscope.model.key import ProcessKey
    from hostscope.model.process import Process
    from hostscope.model.service import ServiceState
    from hostscope.model.tree import TreeRow
    from hostscope.platforms.base import Columns, Host

STREAMS = ("services",)
OVERRIDE_FILE_PERMISSIONS = ("dac_override",)
"""As Linux calls it; the platform leaves out what it does not have."""


class LocalSession(NetworkVerbs, ResponseVerbs):
    """Asks a `Host`, and masks secrets on the way out.

    Args:
        reveal: show secrets of processes that are the viewer's own, or all of them to root.
    """

    def __init__(self, host: Host, reveal: bool = False) -> None:
        self._host = host
        self._exit = Exit(host, reveal)

    def snapshot(self, table: str, request: ProcessRequest | None = None) -> Answer[Any]:
        """See `Session.snapshot`."""
        if table not in COLLECTORS:
            raise UsageError(f"there is no table {table!r}", f"tables: {', '.join(COLLECTORS)}")
        if table == "processes":
            return self.processes(request)
        collector = importlib.import_module(f"hostscope.collectors.{table}")
        answer: Answer[Any] = collector.collect(self._host, request)
        return self._exit.answer(answer, self._exit.service, ("unit", "units")) if table == "services" else answer

    def stream(self, table: str, stop: threading.Event, interval_s: float = 2.0) -> Iterator[Event]:
        """See `Session.stream`."""
        if table not in STREAMS:
            raise UsageError(f"there is no stream of {table!r}", f"streams: {', '.join(STREAMS)}")
        return self.service_changes(stop, interval_s)

    def overriding(self) -> AbstractContextManager[None]:
        """Brings the right to write files in spite of their permissions into effect, for a block and if we have it."""
        return self._host.privileges.using(OVERRIDE_FILE_PERMISSIONS, "write an answer to its file")

    def limit_to(self, command: str, writes: bool = False) -> None:
        """Gives up, for good, what this live command never needs, and once it has opened its sources what it needs no
        more; for programs that do nothing else, as hostscope's commands are.

        Args:
            writes: it writes a file while it runs.
        """
        self._host.privileges.limit_to(command, writes)

    def processes(
        self,
        request: ProcessRequest | None = None,
        samples: Samples | None = None,
        only: Collection[ProcessKey] | None = None,
    ) -> Answer[Process]:
        """See `Session.processes`; `samples` fills `cpu.ratio` from the look before, `only` leaves out all others."""
        from hostscope.collectors import processes

        asked = self._exit.asked(request or ProcessRequest())
        return self._exit.answer(processes.collect(self._host, asked, samples, only), self._exit.process)

    def process_tree(self, request: ProcessRequest | None = None) -> Answer[TreeRow]:
        """See `Session.process_tree`."""
        from hostscope.collectors import processes

        answer = processes.process_tree(self._host, self._exit.asked(request or ProcessRequest()))
        return self._exit.answer(answer, self._tree_row)

    def _tree_row(self, row: TreeRow) -> TreeRow:
        process = self._exit.process(row.process)
        return row if process is row.process else replace(row, process=process)

    def snapshots(
        self,
        request: ProcessRequest,
        stop: threading.Event,
        interval_s: float = 2.0,
        only: Collection[ProcessKey] | None = None,
    ) -> Iterator[Answer[Process]]:
        """Every process once, and again until `stop` is set, each time with `cpu.ratio` since the time before."""
        from hostscope.collectors.turns import turns

        samples = Samples()
        for _ in turns(stop, interval_s):
            yield self.processes(replace(request, sample_ns=None), samples, only)

    def process(self, target: str | int, request: ProcessRequest | None = None) -> Process:
        """See `Session.process`."""
        from hostscope.collectors.targets import find_one

        found = find_one(self._host, str(target), self._exit.asked(request or ProcessRequest()))
        return self._exit.process(found)

    def keys(self, targets: Iterable[str]) -> frozenset[ProcessKey]:
        """Every process that is meant by a pid, name, ``:PORT`` or key; a name may mean several.

        Raises:
            UsageError: one is no target.
            Gone: one means no process. Denied, Mismatch
        """
        from hostscope.collectors.targets import find

        request = ProcessRequest(fields=frozenset())
        return frozenset(process.key for target in targets for process in find(self._host, target, request))

    def inspect(self, target: str | int, method: str | None = None, signatures: bool = False) -> ProcessInspection:
        """See `Session.inspect`."""
        from hostscope.collectors import inspection

        return self._exit.inspection(inspection.inspect(self._host, str(target), method, signatures))

    def host(self) -> HostInspection:
        """See `Session.host`."""
        from hostscope.collectors.inspection import inspect_host

        return inspect_host(self._host)

    def hidden(self) -> Answer[Finding]:
        """See `Session.hidden`."""
        return self.snapshot("hidden")

    def counters(self) -> Answer[HostCounters]:
        """See `Session.counters`."""
        return self.snapshot("counters")

    def named_counters(self, paths: tuple[str, ...], interval_s: float = 1.0) -> Answer[NamedCounter]:
        """See `Session.named_counters`."""
        from hostscope.collectors import counters

        return counters.named(self._host, paths, interval_s)

    def containers(self) -> Answer[Container]:
        """See `Session.containers`."""
        return self.snapshot("containers")

    def services(self) -> Answer[ServiceState]:
        """See `Session.services`."""
        return self.snapshot("services")

    def service_changes(self, stop: threading.Event, interval_s: float = 2.0) -> Iterator[Event]:
        """See `Session.service_changes`."""
        from hostscope.collectors import services
        from hostscope.session.event_exits import let_out

        return map(partial(let_out, self._exit), services.changes(self._host, stop, interval_s))

    def abilities(self) -> Answer[Ability]:
        """See `Session.abilities`."""
        return self.snapshot("abilities")

    def columns(self, request: ProcessRequest | None = None) -> tuple[Columns, Coverage]:
        """Processes as NumPy arrays by column name (see `hostscope.platforms.columnar`), and what they cover.

        Arguments are masked, unless root asked to reveal them.
        """
        asked, tally = request or ProcessRequest(), Tally()
        columns = self._host.processes.columns(asked, tally)
        tally.rows = len(columns["pid"])
        return self._exit.columns(columns), tally.coverage(asked.wanted)

    def to_arrow(self, answer: Answer[Process] | None = None, columns: str | None = None) -> Any:
        """The rows of an answer as an Arrow table.

        Args:
            answer: of `processes`; None asks for all of them now.
            columns: names separated by commas; None takes those that `ps` shows.

        Raises:
            UsageError: a name is no column, or pyarrow is not installed.
        """
        from hostscope.render.parquet import arrow_table
        from hostscope.render.process_layout import PROCESSES

        chosen = PROCESSES.choose(columns)
        rows = self.processes() if answer is None else answer
        return arrow_table(chosen, (tuple(column.get(process) for column in chosen) for process in rows))

    def record(self, to: str | IO[bytes], request: ProcessRequest | None = None) -> Coverage:
        """Writes what the host answers to a file, by its path or open, that `open_session(replay=…)` reads.

        Raises:
            UsageError: the file cannot be written.
            Denied: revealing, without being root: a recording holds the processes of all users.
        """
        from hostscope.platforms.replay.writer import record

        if self._exit.reveal and not self._exit.sees_everything:
            raise Denied("only root may reveal the secrets of every process", "record without --reveal, or as root")
        write = partial(record, self._host, to, request or ProcessRequest(), self._exit.reveal)
        try:
            return write()
        except (UsageError, PermissionError) as failed:
            if not _is_forbidden(failed):
                raise
        try:
            with self.overriding():
                return write()
        except PermissionError as failed:
            if isinstance(failed, Error):
                raise
            raise UsageError(f"cannot write {to}: {failed.strerror}") from None


def _is_forbidden(failed: Exception) -> bool:
    """Whether the file's permissions were in the way, and not the host's processes."""
    cause = failed.__cause__ if isinstance(failed, UsageError) else failed
    return isinstance(cause, PermissionError) and not isinstance(cause, Error)
