"""Events by eBPF programs on the kernel's tracepoints, through a ring that nobody waits for.

The programs write what they know at the moment itself: arguments, credentials, exit codes; nothing is read from /proc
afterwards but control groups, once for each. When the ring is full they drop the record and count it; each later record
says how many were dropped before it.

Source: sched_process_fork, sched_process_exec, sched_process_exit, inet_sock_set_state (4.16), module_load, sys_exit,
as BTF tracepoints with a ring buffer (5.8).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from hostscope.errors import Error
from hostscope.model.event import (
    CredentialChange,
    EventRequest,
    Loss,
    ModuleLoad,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    SocketEvent,
)
from hostscope.model.key import ProcessKey
from hostscope.model.socket import Endpoint
from hostscope.model.text import decode
from hostscope.platforms.event_stream import Happening
from hostscope.platforms.linux import capabilities
from hostscope.platforms.linux.accepted import CLOSE, ESTABLISHED, LocalPorts
from hostscope.platforms.linux.clock import PAGE_BYTES, TICK_NS, Boot
from hostscope.platforms.linux.event_groups import ROOT_GROUP, ContainerIds
from hostscope.platforms.linux.event_lineage import Known, Lineage
from hostscope.platforms.linux.event_record import (
    Head,
    Kind,
    parse_capabilities,
    parse_exec,
    parse_exit,
    parse_head,
    parse_module,
    parse_socket,
    split_argv,
)
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.parse import parse_stat
from hostscope.platforms.linux.read import read_file

RING_FULL = "the kernel's ring was full: nobody took the events in time"
_LIFE = {"on_fork": "sched_process_fork", "on_exec": "sched_process_exec", "on_exit": "sched_process_exit"}
_TRACEPOINTS = _LIFE | {"on_state": "inet_sock_set_state", "on_module": "module_load", "on_powers": "sys_exit"}
_LISTEN, _SYN_SENT, _SYN_RECV = 10, 2, 3

ELSEWHERE = frozenset({"credentials", "ptrace"})
"""Kinds that no tracepoint tells of, but the process connector."""

Owner = Callable[[int, Endpoint], ProcessKey | None]
"""Who listens at a place of a network namespace, for sockets that listened before we watched."""


def programs_for(request: EventRequest) -> tuple[str, ...]:
    """The programs that answer a request; ancestry, and who it was that is gone, need the whole life cycle."""
    kinds = request.kinds
    names: tuple[str, ...] = ()
    if kinds & ({"start", "exec"} | ELSEWHERE):
        names = tuple(_LIFE)
    elif "exit" in kinds:
        names = ("on_exit",)
    names += ("on_state",) if "socket" in kinds else ()
    names += ("on_module",) if "module" in kinds else ()
    return names + (("on_inherit", "on_powers") if request.capabilities else ())


def tracepoints(names: Iterable[str]) -> str:
    """Where programs are attached, for people."""
    return ", ".join(_TRACEPOINTS[name] for name in names if name in _TRACEPOINTS)


class EventRing:
    """Reads the ring of attached programs, and makes happenings of records."""

    def __init__(
        self,
        programs: Programs,
        boot: Boot,
        lineage: Lineage,
        containers: ContainerIds,
        owner: Owner,
        wanted: frozenset[str],
    ) -> None:
        self._ring = programs.ring("ring")
        self._lost = programs.variable("lost")
        self._boot, self._lineage, self._containers, self._owner = boot, lineage, containers, owner
        self._wanted = wanted
        self._told = 0
        self._ports = LocalPorts()
        self._readers: dict[int, Callable[[Head, bytes], Happening | None]] = {
            Kind.FORK: self._fork,
            Kind.EXEC: self._exec,
            Kind.EXIT: self._exit,
            Kind.SOCKET: self._socket,
            Kind.MODULE: self._module,
            Kind.CAPABILITIES: self._capabilities,
        }

    def read(self) -> Iterator[Happening]:
        """What is in the ring now, a few MiB at most; losses stand where they happened."""
        for raw in self._ring.read():
            head = parse_head(raw)
            if head.lost > self._told:
                yield self._loss(head.at, head.lost)
            happening = self._readers[head.kind](head, raw)
            if happening is not None:
                yield happening

    @property
    def pending(self) -> bool:
        """Whether records wait in the ring."""
        return self._ring.pending_bytes > 0

    def rest(self) -> Iterator[Happening]:
        """What was lost after the last record."""
        if self._lost.value > self._told:
            yield self._loss(0, self._lost.value)

    def _loss(self, at: int, lost: int) -> Happening:
        missing, self._told = lost - self._told, lost
        return Happening(at, None, Loss(missing, RING_FULL))

    # Records --------------------------------------------------------------------------------------------------------

    def _key(self, pid: int, start: int) -> ProcessKey:
        return self._boot.key(pid, start // TICK_NS)

    def _parent(self, head: Head) -> ProcessKey | None:
        return self._key(head.parent, head.parent_start) if head.parent else None

    def _fork(self, head: Head, raw: bytes) -> Happening | None:
        key = self._key(head.pid, head.start)
        known = self._lineage.forked(key, decode(head.comm.split(b"\0", 1)[0]), self._parent(head))
        if "start" not in self._wanted:
            return None
        body = ProcessStart(
            known.name, known.parent, known.ancestry, head.uid, self._container(head), self._group(head.cgroup)
        )
        return Happening(head.at, key, body)

    def _exec(self, head: Head, raw: bytes) -> Happening | None:
        key = self._key(head.pid, head.start)
        known = self._lineage.named(key, decode(head.comm.split(b"\0", 1)[0]), self._parent(head))
        return Happening(head.at, key, self._program(head, raw, known)) if "exec" in self._wanted else None

    def _program(self, head: Head, raw: bytes, known: Known) -> ProcessExec:
        found = parse_exec(raw, head.flags)
        return ProcessExec(
            name=known.name,
            exe=found.exe,
            argv=self._argv_now(head) if found.argv is None else found.argv,
            file=found.file,
            parent=known.parent,
            ancestry=known.ancestry,
            uid=head.uid,
            memfd=found.memfd,
            deleted=found.deleted,
            truncated=found.truncated,
            container=self._container(head),
            cgroup=self._group(head.cgroup),
        )

    def _argv_now(self, head: Head) -> tuple[str, ...] | None:
        """What the program could not copy; None when another process has the pid by now."""
        argv = read_argv(head.pid)
        return argv if read_start(head.pid) == head.start // TICK_NS else None

    def _exit(self, head: Head, raw: bytes) -> Happening | None:
        """Two threads that ended at once may each have been the last."""
        key = self._key(head.pid, head.start)
        if not self._lineage.ended(key, head.start) or "exit" not in self._wanted:
            return None
        found = parse_exit(raw)
        code, signal, dumped = parse_status(found.status)
        body = ProcessExit(
            name=decode(head.comm.split(b"\0", 1)[0]),
            code=code,
            signal=signal,
            core_dumped=dumped,
            run_ns=max(0, head.at - head.start),
            cpu_ns=found.cpu_ns,
            peak_resident_bytes=found.peak_pages * PAGE_BYTES,
            container=self._container(head),
        )
        return Happening(head.at, key, body)

    def _socket(self, head: Head, raw: bytes) -> Happening | None:
        found = self._ports.complete(parse_socket(raw))
        what, failed = name_change(found.old_state, found.new_state)
        if what is None:
            return None
        key = self._key(head.pid, head.start) if head.pid else self._owner(found.net_ns, found.local)
        name = decode(head.comm.split(b"\0", 1)[0])
        if not head.pid and key is not None:
            known = self._lineage.get(key)
            name = known.name if known else ""
        remote = None if what == "listen" or not found.remote.port else found.remote
        uid = head.uid if head.pid else None
        body = SocketEvent(name, what, found.protocol, found.local, remote, failed, uid, found.net_ns)
        return Happening(head.at, key, body)

    def _module(self, head: Head, raw: bytes) -> Happening:
        name = decode(head.comm.split(b"\0", 1)[0])
        return Happening(head.at, self._key(head.pid, head.start), ModuleLoad(name, parse_module(raw)))

    def _capabilities(self, head: Head, raw: bytes) -> Happening:
        before, after = (" ".join(capabilities.names(mask)) for mask in parse_capabilities(raw))
        name = decode(head.comm.split(b"\0", 1)[0])
        body = CredentialChange(name, "capabilities", before, after)
        return Happening(head.at, self._key(head.pid, head.start), body)

    def _container(self, head: Head) -> str | None:
        mark = (head.cgroup, head.css_set, head.pids_group)
        return self._containers.of(mark, (head.pid, head.parent) if head.kind == Kind.FORK else (head.pid,))

    def _group(self, cgroup: int) -> int | None:
        return cgroup if cgroup != ROOT_GROUP else None


def read_argv(pid: int) -> tuple[str, ...] | None:
    """Arguments from /proc, where the kernel program could not copy them; None when they are gone."""
    with suppress(OSError, Error):
        return split_argv(read_file(f"/proc/{pid}/cmdline"))
    return None


def read_start(pid: int) -> int | None:
    """When the process began that has a pid now, in ticks since boot; None when there is none."""
    with suppress(OSError, ValueError):
        return parse_stat(read_file(f"/proc/{pid}/stat")).start
    return None


def parse_status(status: int) -> tuple[int | None, int | None, bool]:
    """Exit code or signal of a wait status, and whether memory was dumped. Pure."""
    signal = status & 0x7F
    if signal:
        return None, signal, bool(status & 0x80)
    return status >> 8 & 0xFF, None, False


def name_change(old: int, new: int) -> tuple[str | None, bool]:
    """What a change of a socket's state is, and whether it failed; None for one that is not told of. Pure."""
    if new == _LISTEN:
        return "listen", False
    if new == ESTABLISHED:
        return ("accept" if old == _SYN_RECV else "connect"), False
    if new != CLOSE or old in (_SYN_RECV, CLOSE):
        return None, False
    return ("connect", True) if old == _SYN_SENT else ("close", False)
