"""A host in memory, scripted by a test: the same Protocols, answers from lists."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from hostscope.errors import Error, Gone, Mismatch, Unsupported
from hostscope.model.capture import CaptureRequest
from hostscope.model.container import Container
from hostscope.model.detail import ProcessDetail
from hostscope.model.dns import DnsQuery, Resolver
from hostscope.model.dump import Reserve
from hostscope.model.event import Event, EventRequest
from hostscope.model.gap import Gap
from hostscope.model.host import Ability, HostCounters, HostInfo, NamedCounter, ProcessView
from hostscope.model.interface import Interface
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.model.package import FileOwner
from hostscope.model.process import Account, Cpu, Digest, Executable, Memory, Process, UnixIds
from hostscope.model.request import ProcessRequest
from hostscope.model.security import HostSecurity
from hostscope.model.service import ServiceState
from hostscope.model.signature import Seal
from hostscope.model.socket import Socket, SocketRequest
from hostscope.model.syscall import TraceRequest
from hostscope.model.traffic import Reading, TrafficRequest
from hostscope.platforms.base import Columns, Host
from hostscope.platforms.base_memory import AddressSpace
from hostscope.platforms.base_network import Meter, PacketSource
from hostscope.platforms.columnar import columns_of
from hostscope.platforms.tally import Tally

BOOT = "b00t"
BOOTED_AT_NS = 1_700_000_000_000_000_000
ROOT, ALICE = Account("0", "root"), Account("1000", "alice")


def key(pid: int, start: int | None = None) -> ProcessKey:
    """The identity of a made-up process; by default it started `pid` ticks after boot."""
    return ProcessKey(BOOT, 4026531836, pid, pid if start is None else start)


def ids(user: Account, group: Account | None = None) -> UnixIds:
    """One account in all places."""
    group = group or Account(user.id, user.name)
    return UnixIds(user, user, user, user, group, group, group, group)


def process(pid: int, name: str = "sleep", ppid: int = 1, user: Account = ROOT, **fields: Any) -> Process:
    """A made-up process that uses `pid` ms of processor time and `pid` pages."""
    given: dict[str, Any] = {
        "state": "sleeping",
        "kernel": False,
        "started_at_ns": BOOTED_AT_NS + pid * 10_000_000,
        "exe": Executable(f"/usr/bin/{name}", 1, 1000 + pid),
        "argv": (name, str(pid)),
        "owner": user,
        "ids": ids(user),
        "threads": 1,
        "cpu": Cpu(pid * 1_000_000, 0),
        "memory": Memory(pid * 8192, pid * 4096, 0, 0, None, None),
    }
    return Process(key(pid), ppid, name, **(given | fields))


@dataclass
class FakeProcesses:
    """Gives the sweeps in turn; the last one again and again."""

    sweeps: list[list[Process]]
    details: dict[int, ProcessDetail] = field(default_factory=dict)
    looks: list[list[ProcessView]] = field(default_factory=list)
    denied: int = 0
    hidden: str | None = None
    requests: list[ProcessRequest] = field(default_factory=list)

    def sweep(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        self.requests.append(request)
        rows = self.sweeps.pop(0) if len(self.sweeps) > 1 else self.sweeps[0]
        tally.method, tally.denied, tally.hidden = "fake", self.denied, self.hidden
        for row in rows:
            tally.seen += 1
            yield row

    def columns(self, request: ProcessRequest, tally: Tally) -> Columns:
        return columns_of(self.sweep(request, tally), request.wanted)

    def read(self, pid: int, request: ProcessRequest) -> Process:
        self.requests.append(request)
        for row in self.sweeps[0]:
            if row.key.pid == pid:
                return row
        raise Gone(f"there is no process {pid}")

    def detail(self, key: ProcessKey, parts: frozenset[str]) -> ProcessDetail:
        if not self.read(key.pid, ProcessRequest()).key.same(key):
            raise Mismatch(f"pid {key.pid} is another process")
        return self.details.get(key.pid, ProcessDetail())

    def views(self) -> Iterator[ProcessView]:
        return iter(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])


@dataclass
class Answers:
    """Everything else: what each part of the host says, or the error it raises."""

    security: HostSecurity | Error = field(default_factory=lambda: HostSecurity(1, "none", ("apparmor",)))
    digests: dict[str, Digest | Error] = field(default_factory=dict)
    seals: tuple[Seal, ...] | Error = ()
    catalogs: tuple[str, ...] | Error = ()
    images: dict[int, str] = field(default_factory=dict)
    """Files that processes run, by pid."""
    owners: dict[str, FileOwner | Error | None] = field(default_factory=dict)
    containers: list[Container] = field(default_factory=list)
    services: list[ServiceState] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ports: dict[int, tuple[int, ...]] = field(default_factory=dict)
    sockets: list[Socket] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    interfaces: list[list[Interface]] = field(default_factory=lambda: [[]])
    """The answers in turn; the last one again and again."""
    resolvers: list[Resolver] = field(default_factory=list)
    queries: list[DnsQuery] | None = None
    """None: the resolver tells nobody."""
    regions: tuple[Region, ...] = ()
    counters: HostCounters | Error | None = None
    reported: list[tuple[str, str]] = field(default_factory=list)
    """Entries that were written to the host's log."""
    privileges: tuple[str, ...] = ("sys_ptrace",)
    abilities: tuple[Ability, ...] = ()
    digested: list[str] = field(default_factory=list)
    settled: list[str | None] = field(default_factory=list)
    """What `limit_to` and `settle` were told, in order."""
    lowered: bool = False


def _given(answer: Any) -> Any:
    if isinstance(answer, Error):
        raise answer
    return answer


class _Parts:
    """Implements every small Protocol from `Answers`."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers


class FakeSecurity(_Parts):
    def state(self) -> HostSecurity:
        return _given(self.answers.security)  # type: ignore[no-any-return]


class FakeFiles(_Parts):
    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        self.answers.digested.append(exe.path)
        return _given(self.answers.digests.get(exe.path, Digest("00" * 32, 10)))  # type: ignore[no-any-return]

    def matches(self, key: ProcessKey, exe: Executable, owner: FileOwner) -> bool | None:
        digest = _given(self.answers.digests.get(exe.path, Digest("00" * 32, 10)))
        return None if owner.digest is None else bool(digest.sha256.startswith(owner.digest))

    def changed_at_ns(self, file: BinaryIO) -> int:
        if hasattr(os.stat_result, "st_file_attributes"):  # Windows: when it was made
            raise Unsupported("no time of changes")
        return os.fstat(file.fileno()).st_ctime_ns

    def seals(self, file: BinaryIO) -> tuple[Seal, ...]:
        return _given(self.answers.seals)  # type: ignore[no-any-return]

    def catalogs(self, file: BinaryIO) -> tuple[str, ...]:
        return _given(self.answers.catalogs)  # type: ignore[no-any-return]

    def reserve(self, fd: int) -> Reserve | None:
        return None


class FakePackages(_Parts):
    def owner(self, path: str) -> FileOwner | None:
        return _given(self.answers.owners.get(path))  # type: ignore[no-any-return]


class FakeContainers(_Parts):
    def describe(self, container: Container) -> Container:
        return container

    def containers(self) -> Iterator[Container]:
        return iter(self.answers.containers)


class FakeServices(_Parts):
    def services(self) -> Iterator[ServiceState]:
        return iter(self.answers.services)

    def service(self, name: str) -> ServiceState:
        for service in self.answers.services:
            if service.name == name:
                return service
        raise Gone(f"there is no unit {name}")

    def changes(self, stop: threading.Event, interval_s: float) -> Iterator[Event]:
        for event in self.answers.events:
            if stop.is_set():
                return
            yield event


class FakeSockets(_Parts):
    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        tally.method = "fake"
        for row in self.answers.sockets:
            tally.seen += 1
            yield row

    def owners(self, port: int) -> tuple[int, ...]:
        return self.answers.ports.get(port, ())


@dataclass
class FakeMeter:
    readings: list[Reading]
    method: str = "fake"

    def read(self) -> Reading:
        if not self.readings:
            return Reading(0, 0, (), None)
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]


class FakeTraffic(_Parts):
    @contextmanager
    def open(self, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
        tally.method = "fake"
        yield FakeMeter(self.answers.readings)


class FakeCapture(_Parts):
    def open(self, request: CaptureRequest, tally: Tally) -> AbstractContextManager[PacketSource]:
        raise Unsupported("a made-up host has no packets")


class FakeInterfaces(_Parts):
    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        return iter(self.answers.interfaces.pop(0) if len(self.answers.interfaces) > 1 else self.answers.interfaces[0])


class FakeResolvers(_Parts):
    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        return iter(self.answers.resolvers)

    def queries(self, stop: threading.Event, tally: Tally) -> Iterator[DnsQuery]:
        if self.answers.queries is None:
            raise Unsupported("this host's resolver tells nobody")
        yield from self.answers.queries


class FakeMemory(_Parts):
    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        return self.answers.regions

    def open(self, key: ProcessKey) -> AbstractContextManager[AddressSpace]:
        raise Unsupported("a made-up process has no memory")

    def give_way(self) -> None: ...

    def executable(self, key: ProcessKey) -> AbstractContextManager[BinaryIO]:
        if key.pid in self.answers.images:
            return open(self.answers.images[key.pid], "rb")
        raise Unsupported("a made-up process has no executable")


class FakeEvents(_Parts):
    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        return iter(self.answers.events)


class FakeSyscalls(_Parts):
    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        return iter(self.answers.events)


class FakeCounters(_Parts):
    def named(self, paths: tuple[str, ...], interval_s: float) -> Iterator[NamedCounter]:
        yield from (NamedCounter(path, None, float(number)) for number, path in enumerate(paths))

    def read(self) -> HostCounters:
        return _given(self.answers.counters or COUNTERS)  # type: ignore[no-any-return]


class FakeSystem(_Parts):
    def report(self, severity: str, text: str) -> None:
        self.answers.reported.append((severity, text))

    def info(self) -> HostInfo:
        return HostInfo("box", "linux", "Test 1", "6.1.0", "x86_64", BOOT, BOOTED_AT_NS, 2, 1 << 30, 4026531836)


class FakePrivileges(_Parts):
    def held(self) -> tuple[str, ...]:
        return self.answers.privileges

    def abilities(self) -> tuple[Ability, ...]:
        return self.answers.abilities

    def lower_all(self) -> None:
        self.answers.lowered = True

    def using(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        return nullcontext()

    def limit_to(self, command: str, writes: bool = False) -> None:
        self.answers.settled.append(command)

    def settle(self, method: str | None = None) -> None:
        self.answers.settled.append(method)


COUNTERS = HostCounters(
    BOOTED_AT_NS, 10**9, 10**9, 10**10, 0, 0, 2, 0.5, 0.25, 0.1, 1, 100, 1000, 1 << 30, 1 << 29, 1 << 28, 1 << 27,
    0, 0, None, None, None, (),
)  # fmt: skip


def host(*rows: Process, name: str = "linux", answers: Answers | None = None, **processes: Any) -> Host:
    """A host with these processes; keyword arguments go to `FakeProcesses`."""
    answers = answers or Answers()
    processes.setdefault("sweeps", [list(rows)])
    return Host(
        name=name,
        processes=FakeProcesses(**processes),
        security=FakeSecurity(answers),
        files=FakeFiles(answers),
        packages=FakePackages(answers),
        containers=FakeContainers(answers),
        services=FakeServices(answers),
        sockets=FakeSockets(answers),
        traffic=FakeTraffic(answers),
        capture=FakeCapture(answers),
        interfaces=FakeInterfaces(answers),
        resolvers=FakeResolvers(answers),
        memory=FakeMemory(answers),
        events=FakeEvents(answers),
        syscalls=FakeSyscalls(answers),
        counters=FakeCounters(answers),
        system=FakeSystem(answers),
        privileges=FakePrivileges(answers),
    )


def with_gaps(row: Process, *gaps: Gap, **fields: Any) -> Process:
    """The process with gaps in place of fields."""
    from msgspec.structs import replace as changed

    return changed(row, gaps=(*row.gaps, *gaps), **fields)


__all__ = ["ALICE", "ROOT", "Answers", "host", "ids", "key", "process", "replace", "with_gaps"]
