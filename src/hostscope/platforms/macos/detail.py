"""What one process holds: open files, memory maps, threads, sockets, environment."""

import os
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from hostscope.errors import Unsupported
from hostscope.model.detail import MemoryMap, OpenFile, ProcessDetail, Thread, Variable
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.socket import FAMILIES, Socket, SocketRequest
from hostscope.platforms.macos import process_list, translate
from hostscope.platforms.macos.native import errnos, libproc
from hostscope.platforms.macos.parse_detail import parse_pipe, parse_region, parse_thread, parse_vnode
from hostscope.platforms.macos.parse_signing import RESTRICTED
from hostscope.platforms.macos.questions import Questions
from hostscope.platforms.tally import Tally

FDS, THREADS = libproc.PROC_PIDLISTFDS, libproc.PROC_PIDLISTTHREADS
KINDS = {
    libproc.PROX_FDTYPE_SOCKET: "socket",
    libproc.PROX_FDTYPE_PIPE: "pipe",
    libproc.PROX_FDTYPE_KQUEUE: "other",
    libproc.PROX_FDTYPE_PSHM: "other",
    libproc.PROX_FDTYPE_PSEM: "other",
}
OTHER_NAMES = {
    libproc.PROX_FDTYPE_PSHM: "shared memory",
    libproc.PROX_FDTYPE_PSEM: "semaphore",
    libproc.PROX_FDTYPE_KQUEUE: "kqueue",
    libproc.PROX_FDTYPE_FSEVENTS: "fsevents",
    libproc.PROX_FDTYPE_NETPOLICY: "netpolicy",
    libproc.PROX_FDTYPE_CHANNEL: "channel",
    libproc.PROX_FDTYPE_NEXUS: "nexus",
    libproc.PROX_FDTYPE_SOCKET: "socket",
}
MOST_REGIONS = 1 << 17


def read_detail(key: ProcessKey, parts: frozenset[str]) -> ProcessDetail:
    """The asked parts; one that is refused is None with its gap."""
    gaps: list[Gap] = []
    readers: dict[str, Callable[[int, list[Gap]], Any]] = {
        "open_files": _open_files,
        "maps": _maps,
        "threads": _threads,
        "sockets": partial(_sockets, key),
        "environment": _environment,
    }
    found = {part: _part(part, reader, key.pid, gaps) for part, reader in readers.items() if part in parts}
    return ProcessDetail(**found, gaps=tuple(gaps))


def _part(part: str, reader: Callable[[int, list[Gap]], Any], pid: int, gaps: list[Gap]) -> Any:
    try:
        return reader(pid, gaps)
    except OSError as failed:
        gaps.append(translate.gap(part, failed))
    except (ValueError, Unsupported) as failed:
        gaps.append(Gap(part, Reason.UNAVAILABLE, str(failed)))
    return None


def _open_files(pid: int, gaps: list[Gap]) -> tuple[OpenFile, ...]:
    raw, whole = libproc.read_list(pid, FDS, 8, most=1 << 24)
    if not whole:
        gaps.append(Gap("open_files", Reason.TRUNCATED, "there are more descriptors than were read"))
    listed = list(struct.iter_unpack("<iI", raw[: len(raw) - len(raw) % 8]))
    return tuple(filter(None, (_open_file(pid, fd, kind) for fd, kind in listed)))


def _open_file(pid: int, fd: int, kind: int) -> OpenFile | None:
    """None for one that was closed meanwhile."""
    try:
        if kind == libproc.PROX_FDTYPE_VNODE:
            return parse_vnode(fd, libproc.read_descriptor(pid, fd, 2, libproc.vnode_fdinfowithpath))
        if kind == libproc.PROX_FDTYPE_PIPE:
            return parse_pipe(fd, libproc.read_descriptor(pid, fd, 6, libproc.pipe_fdinfo))
    except OSError as failed:
        if failed.errno == errnos.EBADF:
            return None
        deleted = failed.errno == errnos.ENOENT
        return OpenFile(fd, "file" if kind == 1 else "pipe", "", None, None, None, deleted=deleted)
    return OpenFile(fd, KINDS.get(kind, "other"), OTHER_NAMES.get(kind, f"type {kind}"), None, None, None)


def _threads(pid: int, gaps: list[Gap]) -> tuple[Thread, ...]:
    """Handles are addresses in the process; the kernel tells neither number nor start by this call."""
    raw, _ = libproc.read_list(pid, THREADS, 8)
    question = libproc.Question(libproc.PROC_PIDTHREADINFO, libproc.proc_threadinfo)
    found = []
    for (handle,) in struct.iter_unpack("<Q", raw[: len(raw) - len(raw) % 8]):
        try:
            found.append(parse_thread(handle, question.ask(pid, handle)))
        except OSError as failed:
            if failed.errno != errnos.ESRCH:
                raise
    return tuple(found)


def _sockets(key: ProcessKey, pid: int, gaps: list[Gap]) -> tuple[Socket, ...] | None:
    """One for each socket, with this holder and its lowest descriptor only."""
    from hostscope.platforms.macos.owners import Owner
    from hostscope.platforms.macos.sockets import Sockets
    from hostscope.platforms.posix_accounts import Accounts

    tally, only = Tally(), {pid: Owner(key, process_list.read_one(pid).name)}
    rows = Sockets(lambda: only, Accounts().user).sweep(SocketRequest(families=FAMILIES), tally)
    held = [(holder.fd or 0, row, holder) for row in rows for holder in row.owners or ()]
    found = [replace(row, owners=(holder,)) for _, row, holder in sorted(held, key=lambda one: one[0])]
    if tally.denied or tally.failed:
        gaps.append(Gap("sockets", Reason.DENIED if tally.denied else Reason.UNAVAILABLE, translate.ROOT_HINT))
        return None
    return tuple(found)


def _environment(pid: int, gaps: list[Gap]) -> tuple[Variable, ...] | None:
    try:
        found = Questions().arguments(pid)
    except OSError as failed:
        if failed.errno != errnos.EINVAL:
            raise
        gaps.append(Gap("environment", Reason.DENIED if os.geteuid() else Reason.UNAVAILABLE, translate.ROOT_HINT))
        return None
    if not found.whole:
        gaps.append(Gap("environment", Reason.TRUNCATED, "the kernel gave fewer strings than there are"))
    elif not found.environment:
        gaps += _left_out(pid)
    pairs = (text.partition("=") for text in found.environment)
    return tuple(Variable(name, value) for name, _, value in pairs)


def _left_out(pid: int) -> tuple[Gap, ...]:
    """Why an environment is empty; nothing where it really is.

    Source: sysctl_procargsx of bsd/kern/kern_sysctl.c in xnu, which leaves out what restricted programs were given.
    """
    try:
        restricted = Questions().flags(pid) & RESTRICTED
    except (OSError, Unsupported):
        return (Gap("environment", Reason.UNAVAILABLE, "empty, or left out by the kernel: its signature is not known"),)
    why = "the kernel leaves out what restricted programs were given, for root too"
    return (Gap("environment", Reason.DENIED, why),) if restricted else ()


def _maps(pid: int, gaps: list[Gap]) -> tuple[MemoryMap, ...]:
    """Regions by PROC_PIDREGIONPATHINFO: without the task port, so of every process that may be asked."""
    question = libproc.Question(libproc.PROC_PIDREGIONPATHINFO, libproc.proc_regionwithpathinfo)
    found: list[MemoryMap] = []
    address = 0
    while len(found) < MOST_REGIONS:
        try:
            region = parse_region(question.ask(pid, address))
        except OSError as failed:
            if found and failed.errno in (errnos.EINVAL, errnos.ESRCH):
                return tuple(found)
            raise
        if region.end <= address:
            raise ValueError(f"regions do not ascend at {address:#x}")
        found.append(region)
        address = region.end
    gaps.append(Gap("maps", Reason.TRUNCATED, f"more than {MOST_REGIONS} regions"))
    return tuple(found)
