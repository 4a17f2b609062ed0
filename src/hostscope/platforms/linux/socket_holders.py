"""Who holds which socket, by the descriptors of all processes; and the processes as owners."""

import os
from collections.abc import Container as Among
from typing import NamedTuple

from hostscope.errors import NativeError
from hostscope.model.container import Container
from hostscope.model.key import ProcessKey
from hostscope.model.socket import SocketOwner
from hostscope.model.text import decode
from hostscope.platforms.linux.cgroups import parse_cgroup
from hostscope.platforms.linux.clock import TICK_NS, Boot
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.parse import parse_stat
from hostscope.platforms.linux.read import list_pids, read_file
from hostscope.platforms.linux.translate import REFUSED, VANISHED

ENDED = ("zombie", "dead")
_SOCKET, _NAMESPACE = b"socket:[", b"net:["


class Owner(NamedTuple):
    """A process that holds sockets."""

    key: ProcessKey
    name: str
    container: Container | None


class Held(NamedTuple):
    """What `walk` found."""

    sockets: dict[int, dict[int, int]]
    """Inode -> pid -> lowest descriptor."""
    namespaces: tuple[tuple[int, int], ...]
    """Pid and number of descriptors that keep a network namespace."""
    denied: int
    """Processes that may not be looked into."""


def walk(wanted: Among[int] | None = None) -> Held:
    """Every descriptor of every process that is a socket, or one of `wanted` inodes.

    Cost: one system call a process and one a descriptor: 45 ms for 20,000 descriptors.
    Races: what is opened or passed on meanwhile may be missed; dump the tables first, so that what they show was
        there before.
    """
    found = _Walk(wanted)
    for pid in list_pids():
        found.add(pid)
    return Held(found.sockets, tuple(found.namespaces), found.denied)


class _Walk:
    def __init__(self, wanted: Among[int] | None) -> None:
        self._wanted = wanted
        self.sockets: dict[int, dict[int, int]] = {}
        self.namespaces: list[tuple[int, int]] = []
        self.denied = 0

    def add(self, pid: int) -> None:
        """All descriptors of a process. One whose first thread has ended shows them through another thread."""
        try:
            if not self._add_from(pid, b"/proc/%d/fd" % pid):
                self._add_from_thread(pid)
        except OSError as failed:
            if failed.errno in REFUSED:
                self.denied += 1
            elif failed.errno not in VANISHED:
                raise NativeError("readlink", failed.errno or 0, failed.strerror or str(failed)) from failed

    def _add_from(self, pid: int, folder: bytes) -> int:
        names, readlink = os.listdir(folder), os.readlink
        for name in names:
            try:
                link = readlink(folder + b"/" + name)
            except OSError as failed:
                if failed.errno in VANISHED:
                    continue  # closed meanwhile
                raise
            if link.startswith(_SOCKET):
                self._add_socket(int(link[8:-1]), pid, int(name))
            elif link.startswith(_NAMESPACE):
                self.namespaces.append((pid, int(name)))
        return len(names)

    def _add_socket(self, inode: int, pid: int, fd: int) -> None:
        if self._wanted is not None and inode not in self._wanted:
            return
        pids = self.sockets.setdefault(inode, {})
        pids[pid] = min(fd, pids.get(pid, fd))

    def _add_from_thread(self, pid: int) -> None:
        try:
            stat = parse_stat(read_file(f"/proc/{pid}/stat"))
        except ValueError:
            return
        if stat.state in ENDED and stat.threads > 1:
            for tid in os.listdir(b"/proc/%d/task" % pid):
                if int(tid) != pid and self._add_from(pid, b"/proc/%d/task/%s/fd" % (pid, tid)):
                    return


class Owners:
    """Processes as owners, each made once for a sweep."""

    def __init__(self, boot: Boot, containers: Containers | None) -> None:
        self._boot = boot
        self._containers = containers
        self._by_pid: dict[int, Owner | None] = {}
        self._places: dict[bytes, Container | None] = {}
        self._groups: dict[int, Container | None] = {}

    def by_pid(self, pid: int) -> Owner | None:
        """From /proc; None when the process has ended. Cost: six system calls, the first time."""
        if pid not in self._by_pid:
            self._by_pid[pid] = self._read(pid)
        return self._by_pid[pid]

    def of_record(self, pid: int, start_ns: int, name: bytes, group: int) -> Owner:
        """From what the kernel's iterator told. Cost: three system calls for the first process of a control group.

        Args:
            group: the address of its set of control groups; equal ones have the same.
        """
        container = self._groups.get(group)
        if group not in self._groups and (raw := _read_groups(pid)) is not None:
            container = self._groups[group] = self._container(raw)
        owner = Owner(self._boot.key(pid, start_ns // TICK_NS), decode(name.partition(b"\0")[0]), container)
        self._by_pid[pid] = owner
        return owner

    def _read(self, pid: int) -> Owner | None:
        try:
            stat = parse_stat(read_file(f"/proc/{pid}/stat"))
        except (OSError, ValueError):
            return None
        raw = _read_groups(pid)
        container = None if raw is None else self._container(raw)
        return Owner(self._boot.key(pid, stat.start), decode(stat.name), container)

    def _container(self, raw: bytes) -> Container | None:
        if raw not in self._places:
            place = parse_cgroup(raw)
            self._places[raw] = self._described(place.path, place.container)
        return self._places[raw]

    def _described(self, path: str | None, container: Container | None) -> Container | None:
        if self._containers is None:
            return container
        if container is not None:
            return self._containers.describe(container)
        return self._containers.at(path) if path else None


def _read_groups(pid: int) -> bytes | None:
    """None when the process has ended; what it held is told all the same."""
    try:
        return read_file(f"/proc/{pid}/cgroup")
    except OSError:
        return None


def owners_of(pids: dict[int, int], known: Owners) -> tuple[tuple[SocketOwner, ...], Container | None]:
    """The owners of one socket by ascending pid, and the container they are in."""
    if not pids:
        return (), None
    found = [(known.by_pid(pid), fd) for pid, fd in sorted(pids.items())]
    owners = tuple(SocketOwner(owner.key, owner.name, fd) for owner, fd in found if owner is not None)
    return owners, next((owner.container for owner, _ in found if owner and owner.container), None)
