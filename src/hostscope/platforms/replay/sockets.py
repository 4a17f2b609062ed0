"""Sockets of the recorded host."""

from collections.abc import Iterator

from msgspec.structs import replace

from hostscope.errors import UsageError
from hostscope.model.socket import WAITING_STATES, Socket, SocketRequest
from hostscope.platforms.replay.layout import SOCKET_COVERAGE, SOCKET_SWEEP
from hostscope.platforms.replay.processes import describe, restore
from hostscope.platforms.replay.reader import Recording
from hostscope.platforms.tally import Tally


class Sockets:
    """Implements `hostscope.platforms.base_network.Sockets`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        """The recorded sockets in their recorded order; `tally` says what was counted then.

        Raises:
            UsageError: the recording was made by another method, or cannot be read any more.
            Unsupported: it holds no sockets. Whatever the host raised instead.
        """
        recorded = self._recording.answer(SOCKET_COVERAGE)
        if request.method not in (None, recorded.method):
            raise UsageError(
                f"method {request.method!r} is not in this recording", f"it was made by: {recorded.method}"
            )
        tally.method = recorded.method
        restore(tally, recorded)
        describe(self._recording, tally)
        return self._rows(request, tally)

    def _rows(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        for row in self._recording.rows_of(SOCKET_SWEEP):
            if not isinstance(row, Socket):
                tally.failed += 1
                tally.note(row)
            elif row.family in request.families and (request.states is None or row.state in request.states):
                yield row if request.tcp_details else replace(row, tcp=None)

    def owners(self, port: int) -> tuple[int, ...]:
        """Pids with a socket on this local port then, listeners first."""
        found: dict[int, int] = {}
        for row in self.sweep(SocketRequest(), Tally()):
            if row.local is not None and row.local.port == port:
                for owner in row.owners or ():
                    rank = 0 if row.state in WAITING_STATES else 1
                    found[owner.key.pid] = min(rank, found.get(owner.key.pid, 1))
        return tuple(sorted(found, key=lambda pid: (found[pid], pid)))
