"""What one process holds: descriptors, maps, threads, sockets, environment.

Everything is read below one open directory of /proc/PID, so all of it is of one process even when the pid is reused.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from hostscope.errors import UsageError
from hostscope.model.detail import MemoryMap, OpenFile, ProcessDetail, Thread, Variable
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Socket, SocketOwner, SocketRequest
from hostscope.model.text import decode, encode
from hostscope.platforms.linux import translate
from hostscope.platforms.linux.clock import TICK_NS, read_boot
from hostscope.platforms.linux.modules import modules_of
from hostscope.platforms.linux.parse import PF_KTHREAD, parse_stat
from hostscope.platforms.linux.parse_detail import (
    DELETED,
    FdInfo,
    kind_of,
    numbers,
    parse_environ,
    parse_fdinfo,
    parse_maps,
    parse_named_inode,
    split_deleted,
    whole_lines,
)
from hostscope.platforms.linux.read import LIMIT, PATH_ONLY, list_at, read_at
from hostscope.platforms.linux.socket_facts import FAMILIES, Facts
from hostscope.platforms.linux.socket_records import Records
from hostscope.platforms.linux.socket_tables import TABLES
from hostscope.platforms.linux.system import read_booted_at_ns
from hostscope.platforms.posix_accounts import Accounts

PARTS = ("open_files", "maps", "threads", "sockets", "environment", "modules")
ELSEWHERE = frozenset({"windows"})
"""Parts that other systems have: the kernel knows nothing of windows."""
ROWS_LIMIT = 200_000
"""Descriptors, threads or maps of one process."""
MAPS_LIMIT = 1 << 25
TABLE_LIMIT = 1 << 26
"""Bytes of one socket table: about 400,000 TCP sockets."""
ENDED = ("zombie", "dead")
_NO_DEVICE = Gap("interface", Reason.UNSUPPORTED, "only its index is in /proc/PID/net")
_SEEKABLE = ("file", "memfd", "device", "directory")

Part = TypeVar("Part")


def read_detail(pid: int, parts: frozenset[str], booted_at_ns: int | None = None) -> ProcessDetail:
    """The named parts of one process; a part that cannot be read is None with a gap of its own.

    Kernel threads and zombies have no maps and no environment: those are empty, not gaps.

    Raises:
        UsageError: a part has no such name.
        Gone, Denied: nothing can be read at all.

    Needs: for other users' processes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; threads need nothing.

    Cost: five system calls a descriptor, three a thread; one read per 4 KiB of maps; nine tables for sockets, each
        with all sockets of the network namespace.
    """
    if unknown := parts - set(PARTS) - ELSEWHERE:
        raise UsageError(f"unknown part {sorted(unknown)[0]!r}", f"parts: {', '.join(PARTS)}")
    try:
        directory = os.open(f"/proc/{pid}", PATH_ONLY)
    except OSError as failed:
        raise translate.error("open", failed, pid) from failed
    try:
        with open_holder(directory) as (_, holder):
            return _Reader(directory, holder, booted_at_ns or read_booted_at_ns()).read(parts)
    finally:
        os.close(directory)


@contextmanager
def open_holder(process: int) -> Iterator[tuple[int | None, int]]:
    """The directory that shows what a process holds, and the thread whose it is, unless it is the process's own.

    When the first thread has ended and others go on (pthread_exit in main), /proc/PID shows a zombie without files or
    memory; the directory of a thread that lives shows them. A way of hiding from those who only look at the first.
    """
    thread, directory = living_thread(process), process
    try:
        directory = process if thread is None else os.open(f"task/{thread}", PATH_ONLY, dir_fd=process)
    except OSError:  # it has just ended, too
        thread = None
    try:
        yield thread, directory
    finally:
        if directory != process:
            os.close(directory)


def living_thread(process: int) -> int | None:
    """A thread that stands in for a dead first one."""
    with suppress(OSError, ValueError):  # one that ends now is read like any other
        stat = parse_stat(read_at(process, "stat"))
        if stat.state in ENDED and stat.threads > 1:
            for tid in numbers(list_at(process, "task")):
                if parse_stat(read_at(process, f"task/{tid}/stat")).state not in ENDED:
                    return tid
    return None


class _Reader:
    """`process` is a descriptor of /proc/PID, `holder` of it or of the thread that stands in for it."""

    def __init__(self, process: int, holder: int, booted_at_ns: int) -> None:
        self._process = process
        self._directory = holder
        self._booted_at_ns = booted_at_ns
        self._gaps: list[Gap] = []

    def read(self, parts: frozenset[str]) -> ProcessDetail:
        def part(name: str, read: Callable[[], tuple[Part, ...]]) -> tuple[Part, ...] | None:
            return self._attempt(name, read) if name in parts else None

        maps = part("maps", self._maps)
        return ProcessDetail(
            open_files=part("open_files", self._open_files),
            maps=maps,
            threads=part("threads", self._threads),
            sockets=part("sockets", self._sockets),
            environment=part("environment", self._environment),
            modules=part("modules", lambda: modules_of(self._maps() if maps is None else maps)),
            gaps=tuple(self._gaps),
        )

    def _attempt(self, name: str, read: Callable[[], tuple[Part, ...]]) -> tuple[Part, ...] | None:
        try:
            return read()
        except OSError as failed:
            if self._holds_nothing():
                return ()
            self._gaps.append(translate.gap(name, failed))
        except ValueError as failed:
            self._gaps.append(Gap(name, Reason.UNAVAILABLE, str(failed)))
        return None

    def _holds_nothing(self) -> bool:
        """Whether it is a kernel thread or a zombie: the files of those fail in many ways, with and without root."""
        with suppress(OSError, ValueError):
            stat = parse_stat(read_at(self._directory, "stat"))
            return stat.state in ENDED or bool(stat.flags & PF_KTHREAD)
        return False

    def _bounded(self, name: str, found: list[int]) -> list[int]:
        if len(found) > ROWS_LIMIT:
            self._gaps.append(Gap(name, Reason.TRUNCATED, f"{len(found)} in all, the first {ROWS_LIMIT} read"))
        return found[:ROWS_LIMIT]

    def _listed(self, name: str, part: str) -> list[int]:
        return self._bounded(part, numbers(list_at(self._directory, name)))

    # Descriptors ------------------------------------------------------------------------------------------------

    def _open_files(self) -> tuple[OpenFile, ...]:
        refused: list[OSError] = []
        files: list[OpenFile] = []
        for fd in self._listed("fd", "open_files"):
            try:
                files.append(self._open_file(fd))
            except OSError as failed:
                if failed.errno not in translate.VANISHED:  # else it was closed meanwhile
                    refused.append(failed)
        if refused and not files:
            raise refused[0]
        if refused:
            detail = f"{len(refused)} descriptors could not be read: {refused[0].strerror}"
            self._gaps.append(Gap("open_files", Reason.TRUNCATED, detail))
        return tuple(files)

    def _open_file(self, fd: int) -> OpenFile:
        link = os.readlink(b"fd/%d" % fd, dir_fd=self._directory)
        info = parse_fdinfo(read_at(self._directory, f"fdinfo/{fd}"))
        # Only what has a path: the others' kind is in their link.
        mode, inode, links = self._status(fd) if link.startswith(b"/") else (None, info.inode, 0)
        kind = kind_of(link, mode)
        path, deleted = self._path(link, inode, links)
        return OpenFile(
            fd=fd,
            kind=kind,
            path=decode(path),
            mode=info.mode,
            position=_position(info, kind),
            inode=inode if inode is not None else parse_named_inode(link),
            deleted=deleted,
        )

    def _status(self, fd: int) -> tuple[int | None, int | None, int]:
        from hostscope.platforms.linux.native import libc

        found = libc.file_status(self._directory, b"fd/%d" % fd)
        return found.mode, found.inode, found.links

    def _path(self, link: bytes, inode: int | None, links: int | None = None) -> tuple[bytes, bool]:
        """The path without the kernel's ``(deleted)``, unless that is really a part of the name."""
        path, marked = split_deleted(link)
        if marked and links != 0 and self._leads_to(link, inode):
            return link, False
        return path, marked

    def _leads_to(self, path: bytes, inode: int | None) -> bool:
        from hostscope.platforms.linux.native import libc

        try:
            return libc.file_status(self._directory, b"root" + path).inode == inode
        except OSError:
            return False

    # Memory -----------------------------------------------------------------------------------------------------

    def _maps(self) -> tuple[MemoryMap, ...]:
        text, cut = whole_lines(read_records(self._directory, "maps", MAPS_LIMIT), MAPS_LIMIT)
        if cut:
            self._gaps.append(Gap("maps", Reason.TRUNCATED, f"longer than {MAPS_LIMIT} bytes"))
        return tuple(self._named(found) if found.deleted else found for found in parse_maps(text))

    def _named(self, found: MemoryMap) -> MemoryMap:
        link = encode(found.path or "") + DELETED
        if not link.startswith(b"/") or not self._leads_to(link, found.inode):
            return found
        return MemoryMap(
            found.start, found.end, found.permissions, found.offset, found.device, found.inode, decode(link), False
        )

    # Threads ----------------------------------------------------------------------------------------------------

    def _threads(self) -> tuple[Thread, ...]:
        threads = (self._thread(tid) for tid in self._bounded("threads", numbers(list_at(self._process, "task"))))
        return tuple(thread for thread in threads if thread is not None)

    def _thread(self, tid: int) -> Thread | None:
        try:
            stat = parse_stat(read_at(self._process, f"task/{tid}/stat"))
        except OSError as failed:
            if failed.errno in translate.VANISHED:
                return None  # it ended; the others go on
            raise
        return Thread(
            tid=tid,
            name=decode(stat.name),
            state=stat.state,
            user_ns=stat.user_ticks * TICK_NS,
            system_ns=stat.system_ticks * TICK_NS,
            started_at_ns=self._booted_at_ns + stat.start * TICK_NS,
            last_cpu=stat.last_cpu,
        )

    # Sockets ----------------------------------------------------------------------------------------------------

    def _sockets(self) -> tuple[Socket, ...]:
        held = list(self._held_sockets())
        if not held:
            return ()
        known, waiting = self._endpoints({inode for _, inode in held})
        strangers = sum(inode not in known for _, inode in held)
        if strangers:
            where = "in no table of its network namespace: of another family or namespace, or never bound"
            self._gaps.append(Gap("sockets", Reason.UNAVAILABLE, f"{strangers} sockets are {where}"))
        request = SocketRequest(families=frozenset(FAMILIES.values()), tcp_details=False)
        records = Records(request, Accounts(), lambda net_ns, index: _NO_DEVICE)
        records.note((*known.values(), *waiting), from_proc=True)
        stat = parse_stat(read_at(self._process, "stat"))
        key, name = read_boot().key(stat.pid, stat.start), decode(stat.name)
        return tuple(
            self._socket(SocketOwner(key, name, fd), fd, inode, known.get(inode), records) for fd, inode in held
        )

    def _held_sockets(self) -> Iterator[tuple[int, int]]:
        for fd in self._listed("fd", "sockets"):
            try:
                link = os.readlink(b"fd/%d" % fd, dir_fd=self._directory)
            except OSError as failed:
                if failed.errno in translate.VANISHED:
                    continue  # closed meanwhile
                raise
            inode = parse_named_inode(link)
            if inode is not None and link.startswith(b"socket:"):
                yield fd, inode

    def _endpoints(self, wanted: set[int]) -> tuple[dict[int, Facts], list[Facts]]:
        """Rows of the tables for these inodes, and of all listeners there, whose connections they may be."""
        found: dict[int, Facts] = {}
        waiting: list[Facts] = []
        for protocol in TABLES:
            if len(found) < len(wanted):
                rows = self._table(protocol)
                found |= {row.inode: row for row in rows if row.inode in wanted}
                waiting += (row for row in rows if row.listens)
        return found, waiting

    def _table(self, protocol: str) -> list[Facts]:
        """One table; a kernel without the protocol has none."""
        try:
            raw = read_records(self._directory, f"net/{protocol}", TABLE_LIMIT)
        except OSError as failed:
            if failed.errno != errno.ENOENT:
                self._gaps.append(translate.gap("sockets", failed))
            return []
        text, cut = whole_lines(raw, TABLE_LIMIT)
        if cut:
            self._gaps.append(Gap("sockets", Reason.TRUNCATED, f"table {protocol} is longer than {TABLE_LIMIT} bytes"))
        return list(TABLES[protocol](text, protocol, None))

    def _socket(self, owner: SocketOwner, fd: int, inode: int, row: Facts | None, records: Records) -> Socket:
        if row is not None:
            return records.build(row, records.shape_of(row, from_proc=True), (owner,), None)
        return Socket(self._protocol(fd), None, None, None, None, None, inode, None, owners=(owner,))

    def _protocol(self, fd: int) -> str:
        """The name of a socket's protocol by itself: ``vsock``, ``alg``… (sockfs, Linux 2.6.38).

        xattr calls take no directory descriptor; /proc/self/fd stands in for it.
        """
        try:
            name = os.getxattr(f"/proc/self/fd/{self._directory}/fd/{fd}", "system.sockprotoname")
        except OSError:
            return "unknown"  # the gap that counts strangers says why
        return decode(name.rstrip(b"\0")).lower()

    # Environment ------------------------------------------------------------------------------------------------

    def _environment(self) -> tuple[Variable, ...]:
        raw = read_at(self._directory, "environ", LIMIT)
        if len(raw) >= LIMIT:
            self._gaps.append(Gap("environment", Reason.TRUNCATED, f"longer than {LIMIT} bytes"))
        return tuple(parse_environ(raw))


def read_records(directory: int, name: str, limit: int) -> bytes:
    """A file that the kernel writes record by record: a read gives whole ones only, so a short one is not the end."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    pieces, size = [], 0
    try:
        while size < limit and (piece := os.read(fd, min(1 << 16, limit - size))):
            pieces.append(piece)
            size += len(piece)
    finally:
        os.close(fd)
    return b"".join(pieces)


def _position(info: FdInfo, kind: str) -> int | None:
    return info.position if kind in _SEEKABLE else None
