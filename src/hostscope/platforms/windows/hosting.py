"""Which services a process hosts, as the service control manager says; asked once a sweep."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from hostscope.errors import Error
from hostscope.model.gap import Gap
from hostscope.model.service import Service
from hostscope.platforms.windows.attempts import as_gap

MANAGER = "scm"
HOST = "svchost.exe"
FIELDS = ("service", "windows.services")

Read = Callable[[], Mapping[int, tuple[str, ...]]]
"""Names of services by the pid of their process."""


class Hosting(NamedTuple):
    """What a process hosts."""

    service: Service | None = None
    """The only one; of several none is the process's own."""
    services: tuple[str, ...] | None = None
    group: str | None = None
    """Of a service host, by its command line."""


class Hosts:
    """Services of one sweep. Not for use by several threads."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._found: Mapping[int, tuple[str, ...]] | tuple[Gap, ...] | None = None

    def of(self, pid: int, name: str, argv: Callable[[], tuple[str, ...] | None], gaps: list[Gap]) -> Hosting:
        """What the process with this pid hosts; empty for one that hosts none.

        Args:
            argv: gives its arguments, for those that host services.
        """
        found = self._all()
        if isinstance(found, tuple):
            gaps += found
            return Hosting()
        services = found.get(pid, ())
        service = Service(services[0], MANAGER) if len(services) == 1 else None
        group = group_of(argv()) if services and name.lower() == HOST else None
        return Hosting(service, services, group)

    def _all(self) -> Mapping[int, tuple[str, ...]] | tuple[Gap, ...]:
        if self._found is None:
            try:
                self._found = self._read()
            except (Error, OSError, ValueError) as failed:
                self._found = tuple(as_gap(field, failed) for field in FIELDS)
        return self._found


def group_of(argv: tuple[str, ...] | None) -> str | None:
    """``netsvcs`` of ``svchost.exe -k netsvcs -p -s Schedule``."""
    words = argv or ()
    place = next((place for place, word in enumerate(words) if word.lower() in ("-k", "/k")), len(words))
    return words[place + 1] if place + 1 < len(words) else None
