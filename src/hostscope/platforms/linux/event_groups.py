"""Which container a process of the events ring is in: asked of /proc once for each set of control groups.

The kernel gives a set's address, which it may use again for another, together with ids of groups that it never uses
again: both together name the set for good.
"""

from hostscope.platforms.linux.cgroups import parse_cgroup
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.read import read_file

MOST = 4096
ROOT_GROUP = 1
"""Id of the unified hierarchy's root."""
Mark = tuple[int, int, int]
"""Group in the unified hierarchy, set, group in the hierarchy of pids."""


class ContainerIds:
    """Ids of containers by control groups."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._known: dict[Mark, str | None] = {}

    def of(self, mark: Mark, pids: tuple[int, ...]) -> str | None:
        """The container's id; None outside of one, or when all of `pids`, which are members, are gone."""
        if mark in self._known:
            return self._known[mark]
        for pid in pids:
            try:
                raw = read_file(f"/proc/{pid}/cgroup")
            except OSError:
                continue
            return self._keep(mark, self._container(raw))
        return None

    def _keep(self, mark: Mark, found: str | None) -> str | None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[mark] = found
        return found

    def _container(self, raw: bytes) -> str | None:
        place = parse_cgroup(raw)
        found = place.container or (self._containers.at(place.path) if place.path else None)
        return found.id if found else None
