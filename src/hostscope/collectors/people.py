"""Who the processes of a live table are: user, container, and whether they still run."""

from msgspec.structs import replace

from hostscope.errors import Denied, Error, Gone
from hostscope.model.container import Container
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.traffic import ProcessTraffic
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

_REQUEST = ProcessRequest(fields=frozenset({"owner", "cgroup"}))
SWEEP_FROM = 50
"""From so many processes on, one sweep of all costs less than a look at each."""


class People:
    """Looks at processes again each time, and remembers what those that end were."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[ProcessKey, tuple[str | None, Container | None]] = {}

    def describe(self, rows: list[ProcessTraffic]) -> list[ProcessTraffic]:
        """The rows with user, container and `ended`, as far as they can be seen."""
        keys = [row.key for row in rows if row.key]
        running = self._sweep() if len(keys) >= SWEEP_FROM else self._read(keys)
        for key, process in running.items():
            if process:
                user = process.owner.name or process.owner.id if process.owner else None
                self._known[key] = (user, process.container)
        described = [self._described(row, running) if row.key else row for row in rows]
        self._known = {key: self._known[key] for key in keys if key in self._known}
        return described

    def _described(self, row: ProcessTraffic, running: dict[ProcessKey, Process | None]) -> ProcessTraffic:
        assert row.key is not None
        user, container = self._known.get(row.key, (None, None))
        return replace(row, user=user or row.user, container=container, ended=row.key not in running)

    def _sweep(self) -> dict[ProcessKey, Process | None]:
        return {process.key: process for process in self._host.processes.sweep(_REQUEST, Tally())}

    def _read(self, keys: list[ProcessKey]) -> dict[ProcessKey, Process | None]:
        """Those that run; None for one that may not be looked at."""
        found: dict[ProcessKey, Process | None] = {}
        for key in keys:
            try:
                process = self._host.processes.read(key.pid, _REQUEST)
            except Gone:
                continue
            except (Denied, Error):
                found[key] = None
                continue
            if process.key == key:
                found[key] = process
        return found
