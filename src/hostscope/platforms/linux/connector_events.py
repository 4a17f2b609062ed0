"""What the process connector's numbers mean: happenings, with what /proc still shows of the processes."""

import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

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
from hostscope.model.process import Executable
from hostscope.model.text import decode
from hostscope.platforms.event_stream import Happening
from hostscope.platforms.linux.clock import TICK_NS, Boot, since_boot_ns
from hostscope.platforms.linux.event_lineage import Known, Lineage, names_of
from hostscope.platforms.linux.event_ring import ELSEWHERE, parse_status, read_argv, read_start
from hostscope.platforms.linux.executable import read_executable
from hostscope.platforms.linux.parse import parse_stat
from hostscope.platforms.linux.proc_connector import READ_MOST, Message, Missing, ProcConnector, What
from hostscope.platforms.linux.read import read_file

CONNECTOR_KINDS: dict[str, frozenset[What]] = {
    "start": frozenset({What.FORK}),
    "exec": frozenset({What.EXEC}),
    "exit": frozenset({What.EXIT}),
    "credentials": frozenset({What.UID, What.GID, What.SID}),
    "ptrace": frozenset({What.PTRACE}),
}
"""Kinds of events that the connector tells of."""
SOURCE = "proc-connector"
DROPPED = "the process connector's socket was full: nobody took the messages in time"
LIMITS = (
    "the process connector tells numbers only: what a process was is read from /proc afterwards, and is missing when "
    "it was gone by then"
)
_REMEMBERED = 8192
_BURIAL_NS = 1_000_000_000
_EXITING = 0x4
"""PF_EXITING (include/linux/sched.h), among the flags of /proc/PID/stat."""


def messages_for(request: EventRequest, alone: bool) -> frozenset[What]:
    """The messages that answer a request; alone, also those that ancestry needs."""
    kinds = request.kinds & CONNECTOR_KINDS.keys() if alone else request.kinds & ELSEWHERE
    wanted = frozenset(what for kind in kinds for what in CONNECTOR_KINDS[kind])
    life = frozenset({What.FORK, What.EXEC, What.EXIT})
    return wanted | life if wanted & life else wanted


class _Headless(NamedTuple):
    """A process whose first thread ended, and others not yet."""

    start: int | None
    at: int
    status: int
    """Of the thread that ended last."""


class ConnectorEvents:
    """Makes happenings of a subscription's messages."""

    def __init__(self, connector: ProcConnector, boot: Boot, lineage: Lineage, wanted: frozenset[str]) -> None:
        self._connector, self._boot, self._lineage, self._wanted = connector, boot, lineage, wanted
        self._headless: dict[int, _Headless] = {}
        self._single: set[int] = set()
        """Processes that are known to have one thread."""
        self._read_to = 0
        self._ids: dict[tuple[int, ProcessKey | None], int] = {}
        self._readers: dict[int, Callable[[Message, int], Happening | None]] = {
            What.FORK: self._fork,
            What.EXEC: self._exec,
            What.EXIT: self._exit,
            What.UID: self._credentials,
            What.GID: self._credentials,
            What.SID: self._session,
            What.PTRACE: self._ptrace,
        }

    def take(self) -> list[Message | Missing]:
        """What has come, for `read`."""
        return list(self._connector.read())

    def read(self, messages: Iterable[Message | Missing] | None = None) -> Iterator[Happening]:
        """What has come, or was taken before, losses at their place; never waits."""
        found = self._read(self._connector.read() if messages is None else messages)
        return (happening._replace(source=SOURCE) for happening in found)

    def _read(self, messages: Iterable[Message | Missing]) -> Iterator[Happening]:
        at, number, asleep_ns, gone = 0, 0, since_boot_ns() - time.monotonic_ns(), self._gone()
        for message in messages:
            number += 1
            if isinstance(message, Missing):
                yield self._loss(at, message)
                continue
            at = self._read_to = message.mono_ns + asleep_ns
            happening = self._readers[message.what](message, at)
            if happening is not None:
                yield happening
        if number < READ_MOST:  # all was read that the gone had to say
            yield from self._bury(gone)

    def _loss(self, at: int, missing: Missing) -> Happening:
        now = since_boot_ns()
        self._single.clear()
        self._headless = {pid: left._replace(at=now) for pid, left in self._headless.items()}
        return Happening(at, None, Loss(missing.messages, DROPPED + ("" if missing.exact else "; at least so many")))

    def _gone(self) -> set[int]:
        """Processes whose first thread ended before, and nothing is left of them: no message says which is the last.

        One is looked for as long as a thread may take to be gone after its message.
        """
        late = since_boot_ns() - _BURIAL_NS
        recent = [(pid, left) for pid, left in self._headless.items() if left.at >= late]
        return {pid for pid, left in recent if _start_of_rest(pid) != left.start}

    def _bury(self, gone: set[int]) -> Iterator[Happening]:
        for pid in gone & self._headless.keys():
            left = self._headless.pop(pid)
            happening = self._ended(pid, left.at, left.status)
            if happening is not None:
                yield happening

    def finish(self) -> Iterator[Happening]:
        """What had come until now: a look may not take all of it."""
        now, before = since_boot_ns(), -1
        while before != self._read_to < now:
            before = self._read_to
            yield from self.read()
        yield from self.read()  # what had ended by the end of the last look

    def wait(self, timeout_s: float) -> None:
        """Until there is a message, or the time is over."""
        select.select([self._connector], [], [], timeout_s)

    def _fork(self, message: Message, at: int) -> Happening | None:
        _, parent_pid, child, pid = _numbers(message)
        if child != pid:
            self._single.discard(pid)
            return None
        self._single.add(pid)
        key, parent, above = self._key(pid, at), self._who(parent_pid, at), self._lineage.at(parent_pid, at)
        if key is None:
            self._lineage.unknown(pid)
            known = Known(self._boot.key(pid, 0), above.name if above else "", parent, names_of(above))
        else:
            known = self._lineage.forked(key, above.name if above else _comm(pid), parent)
        if "start" not in self._wanted:
            return None
        body = ProcessStart(known.name, parent, known.ancestry, pid=None if key else pid)
        return Happening(at, key, body)

    def _exec(self, message: Message, at: int) -> Happening | None:
        _, pid = _numbers(message)
        self._headless.pop(pid, None)  # another thread than the first began the program, and is the first now
        self._single.add(pid)
        key = self._key(pid, at)
        known = self._lineage.named(key, _comm(pid), None) if key else self._lineage.at(pid, at)
        if "exec" not in self._wanted:
            return None
        found = _executable(pid) if key else None
        body = ProcessExec(
            name=known.name if known else "",
            exe=_path(found) if found else None,
            argv=(read_argv(pid) or None) if key else None,  # a zombie's are empty
            parent=known.parent if known else None,
            ancestry=known.ancestry if known else (),
            memfd=bool(found and found.memfd),
            deleted=bool(found and found.deleted),
            pid=None if key else pid,
        )
        return Happening(at, key, body)

    def _exit(self, message: Message, at: int) -> Happening | None:
        """A process ends with its last thread; the first may end before others, or before another runs a program."""
        thread, pid, status, *_ = _numbers(message)
        if pid in self._headless:
            self._headless[pid] = self._headless[pid]._replace(at=at, status=status)
        elif thread == pid and pid in self._single:
            self._single.discard(pid)
            return self._ended(pid, at, status)
        elif thread == pid:
            known = self._lineage.at(pid, at)
            self._headless[pid] = _Headless(known.key.start if known else None, at, status)
        return None

    def _ended(self, pid: int, at: int, status: int) -> Happening | None:
        known = self._lineage.at(pid, at)
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
        key, name = self._known(pid, at)
        place = (message.what, key)
        before = self._ids.pop(place, None)
        if key is not None:
            self._ids[place] = effective
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]
        if before == effective:
            return None
        what = "uid" if message.what == What.UID else "gid"
        change = CredentialChange(name, what, None if before is None else str(before), str(effective))
        return Happening(at, key, change if key else replace(change, pid=pid))

    def _session(self, message: Message, at: int) -> Happening:
        _, pid = _numbers(message)
        key, name = self._known(pid, at)
        return Happening(at, key, CredentialChange(name, "session", None, str(pid), None if key else pid))

    def _ptrace(self, message: Message, at: int) -> Happening:
        _, pid, _, tracer = _numbers(message)
        key, name = self._known(tracer, at) if tracer else (None, "")
        return Happening(at, key, PtraceAttach(name, self._who(pid, at), pid, attached=bool(tracer)))

    # Who it is ------------------------------------------------------------------------------------------------------

    def _key(self, pid: int, at: int) -> ProcessKey | None:
        """Of the process that has the pid, if it was there when the message was written."""
        start = read_start(pid)
        return None if start is None or start * TICK_NS > at else self._boot.key(pid, start)

    def _who(self, pid: int, at: int) -> ProcessKey | None:
        return self._known(pid, at)[0]

    def _known(self, pid: int, at: int) -> tuple[ProcessKey | None, str]:
        """Key and name, from /proc as long as it is there."""
        known = self._lineage.at(pid, at)
        if key := self._key(pid, at):
            return key, _comm(pid) or (known.name if known else "")
        return (known.key, known.name) if known else (None, "")


def _start_of_rest(pid: int) -> int | None:
    """When the process with this pid began, if it lives on after the end of a thread; None when all of it ends."""
    try:
        stat = parse_stat(read_file(f"/proc/{pid}/stat"))
    except (OSError, ValueError):
        return None
    ends = stat.state in "ZX" or stat.flags & _EXITING
    return None if ends and stat.threads <= 1 else stat.start


def _numbers(message: Message) -> tuple[int, ...]:
    return tuple(number for number in message.data if isinstance(number, int))


def _comm(pid: int) -> str:
    try:
        return decode(read_file(f"/proc/{pid}/comm").removesuffix(b"\n"))
    except OSError:
        return ""


def _path(found: Executable) -> str:
    """What was made by memfd_create is in no directory."""
    return found.path.removeprefix("/") if found.memfd else found.path


def _executable(pid: int) -> Executable | None:
    try:
        directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return read_executable(directory, False, {})
    except OSError:
        return None
    finally:
        os.close(directory)
