"""Every process of a recording."""

from collections.abc import Iterator
from datetime import UTC, datetime

from hostscope.errors import Gone, Unavailable, Unsupported, UsageError
from hostscope.model.coverage import Coverage
from hostscope.model.detail import ProcessDetail
from hostscope.model.host import ProcessView
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Columns
from hostscope.platforms.columnar import columns_of
from hostscope.platforms.replay.layout import SWEEP_COVERAGE
from hostscope.platforms.replay.reader import Recording
from hostscope.platforms.replay.select import Selection
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Processes:
    """Implements `hostscope.platforms.base.Processes`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._by_pid: dict[int, Process] | None = None

    def sweep(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        """The recorded processes in their recorded order; `tally` says what was counted then.

        Raises:
            UsageError: the recording was made by another method, or cannot be read any more.
            Unsupported: two looks are asked for; the same one twice would show every process idle.
        """
        if request.sample_ns is not None:
            raise Unsupported("a recording holds one moment, so it has no processor share between two looks")
        recorded = self._coverage()
        method = recorded.method if recorded else "unknown"
        if request.method not in (None, method):
            raise UsageError(f"method {request.method!r} is not in this recording", f"it was made by: {method}")
        tally.method = method
        if recorded:
            restore(tally, recorded)
        describe(self._recording, tally)
        return self._rows(self._selection(request), tally, recorded is None)

    def _coverage(self) -> Coverage | None:
        return self._recording.answer(SWEEP_COVERAGE) if self._recording.has(SWEEP_COVERAGE) else None

    def _selection(self, request: ProcessRequest) -> Selection:
        header = self._recording.header
        system = header.host.system if header.host else ""
        return Selection(frozenset(header.fields), request.wanted, system)

    def _rows(self, selection: Selection, tally: Tally, count: bool) -> Iterator[Process]:
        for row in self._recording.rows():
            tally.seen += count
            if isinstance(row, Process):
                yield selection.apply(row)
            else:
                tally.failed += 1
                tally.note(row)

    def columns(self, request: ProcessRequest, tally: Tally) -> Columns:
        """The same answer, column by column, for analysis (needs NumPy)."""
        return columns_of(self.sweep(request, tally), request.wanted)

    def read(self, pid: int, request: ProcessRequest) -> Process:
        """One recorded process. The first call reads all of them into memory.

        Raises:
            Gone: it did not run then.
            Unavailable: it may have run, but the recording is incomplete.
        """
        if self._by_pid is None:
            self._by_pid = {row.pid: row for row in self._recording.rows() if isinstance(row, Process)}
        found = self._by_pid.get(pid)
        if found is not None:
            return self._selection(request).apply(found)
        if self._recording.cut:
            raise Unavailable(f"process {pid}: not among the rows that are left; {self._recording.cut}")
        raise Gone(f"process {pid}: there is no such process in this recording")

    def detail(self, key: ProcessKey, parts: frozenset[str]) -> ProcessDetail:
        """Not recorded.

        Raises:
            Unsupported: always.
        """
        raise not_recorded(f"what process {key.pid} holds")

    def views(self) -> Iterator[ProcessView]:
        """Not recorded.

        Raises:
            Unsupported: always.
        """
        raise not_recorded("views of the process list")


def restore(tally: Tally, recorded: Coverage) -> None:
    """What was counted then; rows and their gaps are counted again."""
    tally.method_reason = recorded.method_reason
    tally.seen, tally.denied, tally.vanished = recorded.seen, recorded.denied, recorded.vanished
    tally.failed, tally.lost = recorded.failed, recorded.lost
    tally.hidden = recorded.hidden
    for note in recorded.notes:
        tally.note(note)
    for effect in recorded.effects:
        tally.note(f"when it was recorded: {effect}")


def describe(recording: Recording, tally: Tally) -> None:
    """When and how the recording was made, and what it lacks."""
    made = datetime.fromtimestamp(recording.header.created_at_ns // 10**9, UTC)
    tally.note(f"recorded at {made:%Y-%m-%dT%H:%M:%SZ} by hostscope {recording.header.tool}")
    if recording.header.masked:
        tally.note("secrets in arguments were masked when it was recorded")
    if recording.unknown:
        tally.note(f"{recording.unknown} lines of the recording are of kinds this version does not know")
    if recording.cut:
        tally.hidden = recording.cut
