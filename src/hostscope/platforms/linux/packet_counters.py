"""Packet counters in all network namespaces: those that come up are found, those that end are let go."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from hostscope.errors import Error
from hostscope.platforms.linux.net_namespaces import NetNamespace
from hostscope.platforms.linux.packet_counter import PacketCounter
from hostscope.platforms.tally import Tally

MOST = 256
FIND_NS = 1_000_000_000
"""Namespaces are looked for at most this often."""

Find = Callable[[], tuple[NetNamespace, ...]]
Open = Callable[[NetNamespace], PacketCounter]
Raise = Callable[[str], AbstractContextManager[None]]


class PacketCounters:
    """One counter for each namespace. While one is open its namespace lives, so it is closed when all others left."""

    def __init__(self, ours: PacketCounter, find: Find, open_: Open, raised: Raise, tally: Tally) -> None:
        """Begins with `ours`; none else is opened before `find_others`."""
        self.ours = ours
        self._find, self._open, self._raised, self._tally = find, open_, raised, tally
        self._others: dict[int, PacketCounter] = {}
        self._refused: set[int] = set()
        self._found_ns = 0

    def others(self) -> list[PacketCounter]:
        """The counters of namespaces other than ours."""
        return list(self._others.values())

    def find_others(self) -> list[PacketCounter]:
        """Opens counters in new namespaces; gives those whose namespaces have ended, for the caller to close."""
        if time.monotonic_ns() - self._found_ns < FIND_NS:
            return []
        self._found_ns = time.monotonic_ns()
        found = {one.inode: one for one in self._find() if one.inode is not None and not one.ours}
        ended = [self._others.pop(inode) for inode in self._others.keys() - found.keys()]
        new = [one for inode, one in found.items() if inode not in self._others and inode not in self._refused]
        if new:
            self._open_all(new)
        return ended

    def close(self) -> None:
        """Closes all of them."""
        for counter in (self.ours, *self._others.values()):
            counter.close()

    def _open_all(self, namespaces: list[NetNamespace]) -> None:
        with self._raised("count packets in other network namespaces"):
            for namespace in namespaces:
                if len(self._others) < MOST:
                    self._open_one(namespace)
                else:
                    self._tally.note(f"packets are counted in {MOST} network namespaces only")

    def _open_one(self, namespace: NetNamespace) -> None:
        inode = namespace.inode or 0
        try:
            self._others[inode] = self._open(namespace)
        except (OSError, Error) as failed:
            self._refused.add(inode)
            why = getattr(failed, "strerror", None) or str(failed)
            self._tally.note(f"network namespace {inode}: packets cannot be counted there: {why}")
