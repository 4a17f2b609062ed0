"""Whose a packet is, from what the kernel wrote before it (PKTAP): pids and names, made identities."""

from collections.abc import Callable, Mapping
from time import monotonic

from hostscope.model.socket import SocketOwner
from hostscope.platforms.macos.owners import Owner, Owners
from hostscope.platforms.macos.parse_pktap import Origin

LIST_S = 1.0
"""A listing of processes is believed so long: a pid is given away again after some 99,000 others."""
AGAIN_S = 0.1
"""Between two listings, at least, when a pid is in none."""
_SAME = 15
"""Characters of a name that every release keeps (MAXCOMLEN, and a zero)."""


class PacketOwners:
    """Processes by their pids, as they were a moment ago."""

    def __init__(self, owners: Owners, clock: Callable[[], float] = monotonic) -> None:
        self._owners, self._clock = owners, clock
        self._now: Mapping[int, Owner] = {}
        self._before: Mapping[int, Owner] = {}
        self._listed_s = float("-inf")

    def of(self, origin: Origin) -> SocketOwner | None:
        """The process for which it is: of what a daemon does for another, that other one. None when it cannot be told.

        Cost: one call for all processes, at most ten times a second.

        Raises:
            NativeError
        """
        pid, name = origin.pid, origin.name
        if origin.effective_pid is not None:
            pid, name = origin.effective_pid, origin.effective_name
        if pid is None:
            return None
        age = self._clock() - self._listed_s
        if age > LIST_S or (age > AGAIN_S and self._known(pid, name) is None):
            self._before, self._now, self._listed_s = self._now, self._owners(), self._clock()
        owner = self._known(pid, name)
        return SocketOwner(owner.key, owner.name) if owner else None

    def _known(self, pid: int, name: str) -> Owner | None:
        """Who ended between two listings is still in the one before. The name says whether the pid changed hands."""
        for listed in (self._now, self._before):
            owner = listed.get(pid)
            if owner is not None and (not name or owner.name[:_SAME] == name[:_SAME]):
                return owner
        return None
