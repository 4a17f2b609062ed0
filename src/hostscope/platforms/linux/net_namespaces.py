"""Every network namespace of the host, and how to look into one.

A namespace lives as long as something holds it: a process in it, a bind mount (``ip netns``, container engines), or a
descriptor. `find` sees the first two; descriptors come from whoever walks them anyway (`of_descriptors`).
"""

import errno
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

from hostscope.errors import NativeError
from hostscope.model.text import decode, encode
from hostscope.platforms.linux.privileges import lacking
from hostscope.platforms.linux.read import list_pids, read_file
from hostscope.platforms.linux.translate import REFUSED, VANISHED
from hostscope.platforms.tally import Tally

OURS = "/proc/self/ns/net"
ENTER = ("sys_admin",)
"""The privilege that `inside` takes for any namespace but ours."""
MOUNTS_LIMIT = 1 << 24
_NAMED = re.compile(r"net:\[(\d{1,20})\]")
_RUN_NETNS = ("/run/netns/", "/var/run/netns/")

Made = TypeVar("Made")


class NetNamespace(NamedTuple):
    """One network namespace."""

    inode: int | None
    """None when its number may not be read; then `table` tells it from others."""
    path: str
    """What leads to it, such as ``/proc/7/ns/net``."""
    pid: int | None = None
    """A process in it, whose /proc/PID/net shows it; None when only a mount or a descriptor holds it."""
    name: str | None = None
    """As in ``ip netns``."""
    table: int = 0
    """Inode of its /proc/PID/net/tcp, which every namespace has one of its own of; 0 where nobody looked."""

    @property
    def ours(self) -> bool:
        """Whether we are in it."""
        return self.path == OURS


class Namespaces(NamedTuple):
    """What `find` found."""

    found: tuple[NetNamespace, ...]
    """Ours first."""
    unread: int
    """Processes whose namespace could not be told."""

    def tell(self, tally: Tally) -> None:
        """Counts and names what was not found."""
        if self.unread:
            tally.denied += self.unread
            missing = lacking(("sys_ptrace",))
            tally.note(f"the network namespaces of {self.unread} processes could not be told{missing}")


class Member(NamedTuple):
    """A process, and the namespaces that it is in."""

    pid: int
    net: int
    mount: int


def find(members: Iterable[Member] | None = None) -> Namespaces:
    """The namespaces that processes are in and that mounts hold, ours first.

    Args:
        members: at least one process of each network and mount namespace, where the kernel's iterator told them; else
            every process is looked at.

    Source: /proc/PID/ns/net (3.0), /proc/PID/mountinfo.
    Needs: CAP_SYS_PTRACE for the numbers of others' namespaces; without it processes still show their tables, and
        namespaces are told apart by those.
    Cost: without `members` two system calls a process; and one mountinfo for each mount namespace.
    """
    search = _Search()
    if members is None:
        for pid in list_pids():
            search.add_process(pid)
    else:
        for member in members:
            search.add_member(member)
    for pid in search.mount_namespaces.values():
        search.add_mounts(pid)
    return Namespaces(tuple(search.found.values()), search.unread)


def ours() -> NetNamespace:
    """The one that this process is in."""
    return NetNamespace(parse_link(os.readlink(OURS)), OURS, pid=os.getpid())


def parse_link(link: str) -> int | None:
    """``net:[4026531840]`` -> its number; None for anything else."""
    found = _NAMED.fullmatch(link)
    return int(found[1]) if found else None


class _Search:
    """`found` by number, or by minus the number of its table where the number may not be read."""

    def __init__(self) -> None:
        mine = ours()
        self.found: dict[int, NetNamespace] = {mine.inode or 0: mine}
        self.mount_namespaces: dict[str, int] = {}
        self.unread = 0
        self._our_table = _table_of("self")

    def add_process(self, pid: int) -> None:
        try:
            inode = parse_link(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError as failed:
            if failed.errno in REFUSED:
                self._add_by_table(pid)
            elif failed.errno not in VANISHED:
                raise NativeError("readlink", failed.errno or 0, failed.strerror or "") from failed
            return
        if inode is not None:
            self._add(inode, NetNamespace(inode, f"/proc/{pid}/ns/net", pid))
        with suppress(OSError):
            self.mount_namespaces.setdefault(os.readlink(f"/proc/{pid}/ns/mnt"), pid)

    def add_member(self, member: Member) -> None:
        self._add(member.net, NetNamespace(member.net, f"/proc/{member.pid}/ns/net", member.pid))
        self.mount_namespaces.setdefault(f"mnt:[{member.mount}]", member.pid)

    def _add(self, inode: int, namespace: NetNamespace) -> None:
        known = self.found.setdefault(inode, namespace)
        if namespace.name and known.name is None:
            self.found[inode] = known._replace(name=namespace.name)

    def _add_by_table(self, pid: int) -> None:
        """A process of another user shows its tables to everyone, but not the number of its namespace."""
        try:
            table = _table_of(str(pid))
        except PermissionError:
            self.unread += 1
            return
        if table is not None and table != self._our_table:
            self.found.setdefault(-table, NetNamespace(None, f"/proc/{pid}/ns/net", pid, table=table))

    def add_mounts(self, pid: int) -> None:
        try:
            raw = read_file(f"/proc/{pid}/mountinfo", MOUNTS_LIMIT)
        except OSError:
            return  # the process has gone, or is another user's; its namespace shows if it has processes
        for inode, point in parse_mounted(raw):
            name = next((point[len(start) :] for start in _RUN_NETNS if point.startswith(start)), None)
            self._add(inode, NetNamespace(inode, f"/proc/{pid}/root{point}", name=name))


def _table_of(pid: str) -> int | None:
    """None when the process has ended: a zombie is in no network namespace any more."""
    try:
        return os.stat(f"/proc/{pid}/net/tcp").st_ino
    except PermissionError:
        raise
    except OSError:
        return None


def parse_mounted(raw: bytes) -> Iterator[tuple[int, str]]:
    """Network namespaces that a mountinfo shows: number and place. Pure; lines of another shape are passed over.

    ``63 29 0:4 net:[4026532248] /run/netns/blue rw shared:32 - nsfs nsfs rw``
    """
    for line in raw.split(b"\n"):
        if b" - nsfs " not in line:
            continue
        words = line.split(b" ")
        inode = parse_link(words[3].decode("latin-1")) if len(words) > 4 else None
        if inode is not None:
            yield inode, decode(_unescaped(words[4]))


def _unescaped(path: bytes) -> bytes:
    r"""The kernel writes blanks, tabs, newlines and backslashes as ``\040`` and the like."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), path)


def of_descriptors(held: Iterable[tuple[int, int]], known: Iterable[int | None]) -> Iterator[NetNamespace]:
    """Namespaces that only a descriptor holds: a hiding place that nothing lists.

    Args:
        held: pid and number of descriptors that lead to a namespace of any kind.
        known: inodes of the network namespaces that were found already.
    """
    seen = set(known)
    for pid, fd in held:
        path = f"/proc/{pid}/fd/{fd}"
        with suppress(OSError):  # it was closed, or its process has ended
            inode = parse_link(os.readlink(path))
            if inode is not None and inode not in seen:
                seen.add(inode)
                yield NetNamespace(inode, path)


def inside(namespace: NetNamespace, make: Callable[[], Made]) -> Made:
    """What `make` returns when it is called in the namespace: sockets it makes stay there, wherever they are used.

    Runs in a thread of its own, which ends: the calling thread never leaves its namespace. The thread inherits what
    capabilities are in effect.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN; ENOENT or ESRCH when the namespace has gone. Whatever `make` raises.
    """
    if namespace.ours:
        return make()
    with _opened(namespace) as fd:
        return _in_thread(fd, make)


@contextmanager
def _opened(namespace: NetNamespace) -> Iterator[int]:
    """A descriptor of the namespace.

    The place may be in a hostile mount namespace: it is looked at before it is opened, because opening a device or a
    pipe does things.
    """
    place = os.open(encode(namespace.path), os.O_PATH | os.O_CLOEXEC)
    try:
        found, mine = os.stat(place), os.stat(OURS)
        if found.st_dev != mine.st_dev or namespace.inode not in (None, found.st_ino):
            raise FileNotFoundError(errno.ENOENT, "the namespace is not there any more", namespace.path)
        fd = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)
    try:
        yield fd
    finally:
        os.close(fd)


def _in_thread(fd: int, make: Callable[[], Made]) -> Made:
    from hostscope.platforms.linux.native import libc

    made: list[Made] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            libc.enter_network(fd)
            made.append(make())
        except BaseException as error:  # raised again in the thread that asked
            failed.append(error)

    thread = threading.Thread(target=run, name="in-namespace")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
