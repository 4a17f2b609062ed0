"""What the process connector's numbers mean: happenings, with what /proc still shows of the processes."""

import os
import select
import time
from collections.abc import Callable, Iterator

from hostscope.model.event import (
    CredentialChange,
    EventRequest,
    Loss,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    PtraceAttach,
)
from hostscope.model.key import ProcessKey
from hostscope.model.text import decode
from hostscope.platforms.event_stream import Happening
from hostscope.platforms.linux.clock import TICK_NS, Boot
from hostscope.platforms.linux.event_lineage import Known, Lineage
from hostscope.platforms.linux.event_ring import parse_status, read_argv
from hostscope.platforms.linux.parse import parse_stat
from hostscope.platforms.linux.proc_connector import Message, Missing, ProcConnector, What
from hostscope.platforms.linux.read import read_file

CONNECTOR_KINDS: dict[str, frozenset[What]] = {
    "start": frozenset({What.FORK}),
    "exec": frozenset({What.EXEC}),
    "exit": frozenset({What.EXIT}),
    "credentials": frozenset({What.UID, What.GID, What.SID}),
    "ptrace": frozenset({What.PTRACE}),
}
"""Kinds of events that the connector tells of."""
ONLY_HERE = frozenset({"credentials", "ptrace"})
"""What the ring does not have: no tracepoint tells it."""
DROPPED = "the process connector's socket was full: nobody took the messages in time"
LIMITS = (
    "the process connector tells numbers only: what a process was is read from /proc afterwards, and is missing when "
    "it was gone by then"
)
_MEMFD, _DELETED = "/memfd:", " (deleted)"
_REMEMBERED = 8192


def messages_for(request: EventRequest, alone: bool) -> frozenset[What]:
    """The messages that answer a request; alone, also those that ancestry needs."""
    kinds = request.kinds & CONNECTOR_KINDS.keys() if alone else request.kinds & ONLY_HERE
    wanted = frozenset(what for kind in kinds for what in CONNECTOR_KINDS[kind])
    life = frozenset({What.FORK, What.EXEC, What.EXIT})
    return wanted | life if wanted & life else wanted


class ConnectorEvents:
    """Makes happenings of a subscription's messages."""

    def __init__(self, connector: ProcConnector, boot: Boot, lineage: Lineage, wanted: frozenset[str]) -> None:
        self._connector, self._boot, self._lineage, self._wanted = connector, boot, lineage, wanted
        self._boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        self._ids: dict[tuple[int, int], int] = {}
        self._readers: dict[int, Callable[[Message, int], Happening | None]] = {
            What.FORK: self._fork,
            What.EXEC: self._exec,
            What.EXIT: self._exit,
            What.UID: self._credentials,
            What.GID: self._credentials,
            What.SID: self._session,
            What.PTRACE: self._ptrace,
        }

    def read(self) -> Iterator[Happening]:
        """What has come, losses at their place; never waits."""
        at = 0
        for message in self._connector.read():
            if isinstance(message, Missing):
                unknown = "" if message.exact else "; at least so many"
                yield Happening(at, None, Loss(message.messages, DROPPED + unknown))
                continue
            at = message.mono_ns + self._boot_ns
            happening = self._readers[message.what](message, at)
            if happening is not None:
                yield happening

    def wait(self, timeout_s: float) -> None:
        """Until there is a message, or the time is over."""
        select.select([self._connector], [], [], timeout_s)

    def _fork(self, message: Message, at: int) -> Happening | None:
        _, parent_pid, child, pid = _numbers(message)
        if child != pid:
            return None
        key, parent = self._key(pid), self._who(parent_pid)
        if key is None:
            above = parent and self._lineage.get(parent)
            known = Known(self._boot.key(pid, 0), above.name if above else "", parent)
        else:
            above = self._lineage.at(parent_pid)
            known = self._lineage.forked(key, above.name if above else _comm(pid), parent)
        if "start" not in self._wanted:
            return None
        body = ProcessStart(known.name, parent, known.ancestry, pid=None if key else pid)
        return Happening(at, key, body)

    def _exec(self, message: Message, at: int) -> Happening | None:
        _, pid = _numbers(message)
        key = self._key(pid)
        known = self._lineage.named(key, _comm(pid), None) if key else self._lineage.at(pid)
        if "exec" not in self._wanted:
            return None
        path = _link(f"/proc/{pid}/exe") if key else None
        body = ProcessExec(
            name=known.name if known else "",
            exe=path.removesuffix(_DELETED).removeprefix("/" if path.startswith(_MEMFD) else "") if path else None,
            argv=(read_argv(pid) or None) if key else None,  # a zombie's are empty
            parent=known.parent if known else None,
            ancestry=known.ancestry if known else (),
            memfd=bool(path and path.startswith(_MEMFD)),
            deleted=bool(path and path.endswith(_DELETED)),
            pid=None if key else pid,
        )
        return Happening(at, key, body)

    def _exit(self, message: Message, at: int) -> Happening | None:
        """Of the first thread; others may run on for a while, which the connector does not tell from the end."""
        thread, pid, status, *_ = _numbers(message)
        if thread != pid:
            return None
        known = self._lineage.at(pid)
        if known:
            self._lineage.ended(known.key)
        if "exit" not in self._wanted:
            return None
        code, signal, dumped = parse_status(status)
        run_ns = max(0, at - known.key.start * TICK_NS) if known else None
        body = ProcessExit(known.name if known else "", code, signal, dumped, run_ns, pid=None if known else pid)
        return Happening(at, known.key if known else None, body)

    def _credentials(self, message: Message, at: int) -> Happening | None:
        """Threads change theirs one by one; the first that does speaks for all."""
        _, pid, _, effective = _numbers(message)
        place = (message.what, pid)
        before = self._ids.pop(place, None)
        self._ids[place] = effective
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]
        if before == effective:
            return None
        what = "uid" if message.what == What.UID else "gid"
        return self._change(pid, at, what, None if before is None else str(before), str(effective))

    def _session(self, message: Message, at: int) -> Happening:
        _, pid = _numbers(message)
        return self._change(pid, at, "session", None, str(pid))

    def _change(self, pid: int, at: int, what: str, before: str | None, after: str) -> Happening:
        key = self._who(pid)
        return Happening(at, key, CredentialChange(self._name(pid), what, before, after, None if key else pid))

    def _ptrace(self, message: Message, at: int) -> Happening:
        _, pid, _, tracer = _numbers(message)
        key = self._who(tracer) if tracer else None
        name = self._name(tracer) if tracer else ""
        return Happening(at, key, PtraceAttach(name, self._who(pid), pid, attached=bool(tracer)))

    # Who it is ------------------------------------------------------------------------------------------------------

    def _key(self, pid: int) -> ProcessKey | None:
        try:
            return self._boot.key(pid, parse_stat(read_file(f"/proc/{pid}/stat")).start)
        except (OSError, ValueError):
            return None

    def _who(self, pid: int) -> ProcessKey | None:
        known = self._key(pid) or self._lineage.at(pid)
        return known.key if isinstance(known, Known) else known

    def _name(self, pid: int) -> str:
        known = self._lineage.at(pid)
        return _comm(pid) or (known.name if known else "")


def _numbers(message: Message) -> tuple[int, ...]:
    return tuple(number for number in message.data if isinstance(number, int))


def _comm(pid: int) -> str:
    try:
        return decode(read_file(f"/proc/{pid}/comm").removesuffix(b"\n"))
    except OSError:
        return ""


def _link(path: str) -> str | None:
    try:
        return decode(os.readlink(path.encode()))
    except OSError:
        return None
