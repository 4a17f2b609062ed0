"""Which service of its process a socket is of: service hosts have many."""

from hostscope.errors import Unsupported
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.native import iphlpapi
from hostscope.platforms.windows.parse_network import Entry, parse_owner_module


class ServiceModules:
    """Names of services by the tags that sockets bear, each asked for once."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._names: dict[tuple[int, int], str | None] = {}
        self._there = True

    def of(self, entry: Entry, process: str) -> str | None:
        """The service's name; None when the socket bears no tag, or nothing but the process's own name is known.

        Cost: one call for each pair of process and service.
        """
        if not entry.service_tag or not self._there:
            return None
        place = entry.pid, entry.service_tag
        if place not in self._names:
            self._names[place] = self._ask(entry)
        name = self._names[place]
        return None if name is None or name.casefold() == process.casefold() else name

    def _ask(self, entry: Entry) -> str | None:
        try:
            name, _ = parse_owner_module(*iphlpapi.owner_module(entry.protocol, entry.row))
        except Unsupported as missing:
            self._there = False
            self._tally.note(f"services behind sockets are not told: {missing.message}")
            return None
        except OSError as failed:  # the process has ended, or is protected
            self._tally.note(f"services behind some sockets are not told: {failed}")
            return None
        return name or None
