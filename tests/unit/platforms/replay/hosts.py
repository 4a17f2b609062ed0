"""A small host whose every answer the tests know."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from hostscope.errors import Denied, Error, Unavailable, Unsupported
from hostscope.model.container import Container
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import Ability, HostCounters, HostInfo
from hostscope.model.interface import Interface, InterfaceAddress, InterfaceCounters
from hostscope.model.key import ProcessKey
from hostscope.model.linux import LinuxContext
from hostscope.model.package import FileOwner
from hostscope.model.process import Account, Cpu, Digest, Executable, Memory, Process
from hostscope.model.request import FULL, ProcessRequest
from hostscope.model.security import HostSecurity
from hostscope.model.service import Service, ServiceState
from hostscope.model.socket import Endpoint, Socket, SocketOwner, SocketRequest, TcpState
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

BOOT = "6f1ed002-ab55-4ec3-a7ea-3d9f5f6c0f11"
ROOT = Account("0", "root")
REQUEST = ProcessRequest(fields=FULL)


def key(pid: int, start: int = 100) -> ProcessKey:
    return ProcessKey(BOOT, 4026531836, pid, start)


INIT = Process(
    key(1, 2),
    0,
    "systemd",
    state="sleeping",
    kernel=False,
    started_at_ns=1_700_000_000_000_000_000,
    exe=Executable("/usr/lib/systemd/systemd"),
    argv=("/sbin/init",),
    owner=ROOT,
    cpu=Cpu(1_000_000_000, 2_000_000_000),
    memory=Memory(170_000_000, 12_000_000, 9_000_000, 0, 170_100_000, 12_400_000),
    service=Service("init.scope", "systemd"),
    linux=LinuxContext(cgroup="/init.scope", oom_score=0, oom_score_adj=0, no_new_privs=False),
)
WORKER = Process(key(2, 2), 0, "kthreadd", state="sleeping", kernel=True, owner=ROOT, linux=LinuxContext())
SECRET = Process(
    key(70, 900),
    1,
    "mysql\n\U0010eeff",
    state="running",
    kernel=False,
    exe=Executable("/usr/bin/mysql"),
    argv=("mysql", "--password=hunter2", "-h", "db"),
    cwd=None,
    owner=Account("1000", None),
    container=Container("podman", "ab" * 32, name="web"),
    linux=LinuxContext(cgroup="/libpod_parent/libpod-" + "ab" * 32),
    gaps=(Gap("cwd", Reason.DENIED, "needs CAP_SYS_PTRACE"),),
)
ROWS = (INIT, WORKER, SECRET)
DIGEST = Digest("e3" * 32, 4096)
OWNER = FileOwner("mysql-client", "8.0", "dpkg", "md5", "d4" * 16)
INFO = HostInfo(
    "db1", "linux", "Debian GNU/Linux 12 (bookworm)", "6.1.0-18-amd64", "x86_64", BOOT, 7, 2, 1 << 32, 4026531836
)
COUNTERS = HostCounters(
    9, 1, 2, 3, 4, 0, 2, 0.5, 0.25, None, 1, 4000, 10, 1 << 32, 1 << 31, 1 << 30, None, 0, 0, None, None, None, ()
)
SSH = ServiceState("ssh.service", "systemd", state="active", main_pid=70)
OF_A_USER = ServiceState("cron.service", "systemd --user", state="active", user=1000)
ABILITY = Ability("iterator", False, "needs CAP_BPF", "run as root")


HTTPS = Endpoint("192.0.2.7", 443)
LISTENER = Socket(
    "inet6", "stream", "tcp", "listen", Endpoint("::", 3306), None, 11, 4026531840,
    owners=(SocketOwner(key(70, 900), "mysql", 4),), direction="listening", backlog=0, backlog_limit=128,
)  # fmt: skip
TALK = Socket(
    "inet", "stream", "tcp", "established", Endpoint("10.0.0.2", 3306), HTTPS, 12, 4026531840,
    owners=(SocketOwner(key(1, 2), "systemd", 5), SocketOwner(key(70, 900), "mysql", 6)),
    tcp=TcpState(1_000_000, 500_000, 1, 10, 9, 8, 10, 1448), direction="inbound",
)  # fmt: skip
PIPE = Socket("unix", "stream", None, "connected", None, Endpoint("/run/a\U0010eeff"), 13, 4026531840, owners=())
SOCKETS = (LISTENER, TALK, PIPE)

LOOPBACK = Interface(
    "lo", 1, "loopback", ("up", "loopback"), "unknown", addresses=(InterfaceAddress("inet", "127.0.0.1", 8, "host"),),
    counters=InterfaceCounters(1, 2, 3, 4, 5, 6, 7, 8), net_ns=4026531840,
)  # fmt: skip


class Known:
    """Every Protocol but Processes in one: each answer is a constant, or an error that is raised."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def _give(self, name: str) -> Any:
        found = self._answers[name]
        if isinstance(found, Error):
            raise found
        return found

    def state(self) -> HostSecurity:
        return self._give("state")

    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        if key.pid == 1:
            raise Denied("process 1: permission denied", "needs root")
        return self._give("digest")

    def owner(self, path: str) -> FileOwner | None:
        return self._give("owner") if path == "/usr/bin/mysql" else None

    def describe(self, container: Container) -> Container:
        return container

    def containers(self) -> Iterator[Container]:
        return iter(self._give("containers"))

    def services(self) -> Iterator[ServiceState]:
        return iter(self._give("services"))

    def service(self, name: str) -> ServiceState:
        raise AssertionError("a recorder lists units, it does not ask one by one")

    def changes(self, stop: Any, interval_s: float) -> Any:
        raise AssertionError("a recorder does not wait")

    def read(self) -> HostCounters:
        return self._give("read")

    def info(self) -> HostInfo:
        return self._give("info")

    def held(self) -> tuple[str, ...]:
        return self._give("held")

    def abilities(self) -> tuple[Ability, ...]:
        return self._give("abilities")

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        rows = self._give("interfaces")
        tally.method, tally.denied = "rtnetlink", 1
        tally.seen = len(rows)
        return iter(rows)

    def using(self, names: tuple[str, ...], why: str) -> Any:
        raise AssertionError("the recorder itself needs no privilege")


class KnownSockets:
    """Sockets that are known, or the error in their place."""

    def __init__(self, rows: tuple[Socket, ...] | Error) -> None:
        self._rows = rows

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        if isinstance(self._rows, Error):
            raise self._rows
        tally.method, tally.effects = "iterator", ["an eBPF program"]
        for row in self._rows:
            tally.seen += 1
            yield row

    def owners(self, port: int) -> tuple[int, ...]:
        raise AssertionError("a recorder has no port to ask for")


class Rows:
    """Processes that are known; `fails_after` raises in the middle of a sweep."""

    def __init__(self, rows: tuple[Process, ...], failure: BaseException | None) -> None:
        self._rows = rows
        self._failure = failure

    def sweep(self, request: ProcessRequest, tally: Tally) -> Iterator[Process]:
        tally.method, tally.method_reason = "proc", "needs CAP_BPF"
        tally.vanished, tally.denied = 1, 2
        tally.effects.append("SeDebugPrivilege enabled")
        for row in self._rows:
            tally.seen += 1
            yield row
        if self._failure is not None:
            raise self._failure

    def columns(self, request: ProcessRequest, tally: Tally) -> Any:
        raise AssertionError("recordings are made of rows")

    def read(self, pid: int, request: ProcessRequest) -> Process:
        raise AssertionError("recordings are made of sweeps")

    def detail(self, key: ProcessKey, parts: frozenset[str]) -> Any:
        raise AssertionError("not recorded")

    def views(self) -> Any:
        raise AssertionError("not recorded")


def known_host(rows: tuple[Process, ...] = ROWS, failure: BaseException | None = None) -> Host:
    """The host; `failure` ends its sweep."""
    known = Known(
        state=HostSecurity(yama=1, lsms=("apparmor",)),
        digest=DIGEST,
        owner=OWNER,
        containers=(Container("podman", "ab" * 32, name="web", image="nginx:1"),),
        services=Unavailable("systemd does not answer", "is it running?"),
        read=COUNTERS,
        info=INFO,
        held=("sys_ptrace",),
        abilities=(ABILITY,),
        interfaces=(LOOPBACK,),
    )
    return host_of(known, Rows(rows, failure), KnownSockets(SOCKETS))


def unable_host() -> Host:
    """A host that gives rows and nothing else."""
    no = Unsupported("not here")
    known = Known(
        state=no,
        containers=no,
        services=(SSH, OF_A_USER),
        read=no,
        info=no,
        held=no,
        abilities=no,
        digest=no,
        owner=no,
        interfaces=no,
    )
    return host_of(known, Rows(ROWS, None), KnownSockets(no))


def host_of(known: Known, rows: Rows, sockets: KnownSockets) -> Host:
    """A host of three parts; `known` answers for all others."""
    parts: dict[str, Any] = {field.name: known for field in fields(Host) if field.name not in ("name", "gaps")}
    return Host(**(parts | {"name": "linux", "processes": rows, "sockets": sockets}))
