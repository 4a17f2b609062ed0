"""Which container a process of the events ring is in: asked of /proc once for each set of control groups.

The kernel gives a set's address, which it may use again for another, together with ids of groups that it never uses
again: both together name the set for good. /proc tells of a moment later, when the process may have been moved, as
runtimes do first of all with what they start: so what it says counts only if it names the groups of those ids.
"""

import os

from hostscope.model.text import encode
from hostscope.platforms.linux.cgroups import parse_cgroup, parse_hierarchies
from hostscope.platforms.linux.container_group import UNIFIED
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.read import read_file

MOST = 4096
ROOT_GROUP = 1
"""Id of a hierarchy's root."""
PIDS = ("/sys/fs/cgroup/pids",)
Mark = tuple[int, int, int]
"""Group in the unified hierarchy, set, group in the hierarchy of pids."""


class ContainerIds:
    """Ids of containers by control groups."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._known: dict[Mark, str | None] = {}

    def of(self, mark: Mark, pids: tuple[int, ...]) -> str | None:
        """The container's id; None outside of one, or when all of `pids`, which were members, are gone or moved."""
        if mark in self._known:
            return self._known[mark]
        for pid in pids:
            try:
                raw = read_file(f"/proc/{pid}/cgroup")
            except OSError:
                continue
            if _is_there(raw, mark):
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


def _is_there(raw: bytes, mark: Mark) -> bool:
    """Whether the paths of /proc/PID/cgroup are of the groups with these ids; True where that cannot be told."""
    paths, (unified, _, pids) = parse_hierarchies(raw), mark
    asked = (("", UNIFIED, unified), ("pids", PIDS, pids))
    return all(_id_of(mounts, paths[name]) in (None, wanted) for name, mounts, wanted in asked if name in paths)


def _id_of(mounts: tuple[str, ...], path: str) -> int | None:
    """The id of a group, which is its folder's inode; 0 when it is gone.

    None where the hierarchy is not mounted from its root on, as in a control group namespace of our own: paths mean
    something else there.
    """
    mount = next((mount for mount in mounts if os.path.exists(f"{mount}/cgroup.procs")), None)
    if mount is None or os.stat(mount).st_ino != ROOT_GROUP:
        return None
    try:
        return os.stat(encode(mount + path)).st_ino
    except OSError:
        return 0
