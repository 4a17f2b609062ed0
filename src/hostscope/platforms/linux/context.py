"""What many processes share: credentials, powers, namespaces, container, service. Each distinct one is built once.

Both collection methods come through here, so their records are equal; equal parts are one object, which saves most
of the time and memory of a sweep (ten thousand processes of a host have a few dozen contexts).
"""

import os
from collections.abc import Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from hostscope.model.container import Container
from hostscope.model.linux import Capabilities, LinuxContext, Namespaces
from hostscope.model.process import Account, UnixIds
from hostscope.model.security import HostSecurity, Security
from hostscope.model.service import Service
from hostscope.platforms.linux import capabilities
from hostscope.platforms.linux.cgroups import CgroupPlace, parse_cgroup
from hostscope.platforms.linux.parse import (
    INITIAL_USER_NS,
    NO_ID,
    PF_KTHREAD,
    Credentials,
    SecurityLines,
    parse_namespace,
    parse_stat,
)
from hostscope.platforms.linux.read import read_file
from hostscope.platforms.posix_accounts import Accounts

if TYPE_CHECKING:
    from hostscope.platforms.linux.containers import Containers

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


class ContextFacts(NamedTuple):
    """What a method read about one process; None where it was not asked for, does not apply or is in a gap."""

    credentials: Credentials | None = None
    groups: tuple[int, ...] | None = None
    security: SecurityLines | None = None
    login_uid: int | None = None
    audit_session: int | None = None
    label: str | None = None
    namespaces: tuple[int | None, ...] | None = None
    """Inodes in the order of `NAMESPACES`."""
    cgroup: bytes | None = None
    """Content of /proc/PID/cgroup."""
    tracer: int | None = None
    dumpable: str | None = None
    inner_pid: int | None = None
    oom_score: int | None = None
    oom_score_adj: int | None = None


class Context(NamedTuple):
    """The parts of a `Process` that follow from `ContextFacts`."""

    owner: Account | None
    ids: UnixIds | None
    groups: tuple[Account, ...] | None
    security: Security | None
    container: Container | None
    service: Service | None
    linux: LinuxContext


class Contexts:
    """Contexts by what they were read from; lives for one sweep."""

    def __init__(self, accounts: Accounts, containers: "Containers | None", host: HostSecurity, wanted: frozenset[str]):
        self._accounts = accounts
        self._containers = containers
        self._host = host
        self._wanted = wanted
        self._known: dict[Hashable, Context] = {}
        self._ids: dict[Credentials, UnixIds] = {}
        self._namespaces: dict[tuple[int | None, ...], Namespaces] = {}
        self._places: dict[bytes, tuple[str | None, Container | None, Service | None]] = {}
        self._host_namespaces = read_host_namespaces() if wanted & {"namespaces", "security"} else {}

    def known(self, mark: Hashable) -> Context | None:
        """The context that was built from `mark` before."""
        return self._known.get(mark)

    def build(self, mark: Hashable, facts: ContextFacts) -> Context:
        """The context of these facts, kept under `mark`."""
        path, container, service = self._place(facts.cgroup)
        credentials = facts.credentials if "owner" in self._wanted else None
        context = self._known[mark] = Context(
            owner=self._accounts.user(credentials.uids[1]) if credentials else None,
            ids=self._unix_ids(credentials) if credentials else None,
            groups=None if facts.groups is None else tuple(map(self._accounts.group, facts.groups)),
            security=self._powers(facts, container),
            container=container,
            service=service,
            linux=self._linux(facts, path),
        )
        return context

    def _linux(self, facts: ContextFacts, cgroup: str | None) -> LinuxContext:
        security = facts.security
        return LinuxContext(
            capabilities=capability_sets(security) if security else None,
            no_new_privs=security.no_new_privs if security else None,
            seccomp=security.seccomp if security else None,
            lsm_label=facts.label,
            login_uid=_id(facts.login_uid),
            audit_session=_id(facts.audit_session),
            namespaces=self._named_namespaces(facts.namespaces) if "namespaces" in self._wanted else None,
            inner_pid=facts.inner_pid,
            cgroup=cgroup,
            dumpable=facts.dumpable,
            tracer_pid=facts.tracer or None,
            oom_score=facts.oom_score,
            oom_score_adj=facts.oom_score_adj,
        )

    def _unix_ids(self, credentials: Credentials) -> UnixIds:
        found = self._ids.get(credentials)
        if found is None:
            users, groups = map(self._accounts.user, credentials.uids), map(self._accounts.group, credentials.gids)
            found = self._ids[credentials] = UnixIds(*users, *groups)
        return found

    def _powers(self, facts: ContextFacts, container: Container | None) -> Security | None:
        if facts.security is None or facts.credentials is None:
            return None
        user_ns, net_ns = _member(facts.namespaces, "user"), _member(facts.namespaces, "net")
        host_net = self._host_namespaces.get("net")
        return capabilities.derive_powers(
            capabilities.Facts(
                effective=facts.security.effective,
                permitted=facts.security.permitted,
                bounding=facts.security.bounding,
                uid=facts.credentials.uids[0],
                euid=facts.credentials.uids[1],
                suid=facts.credentials.uids[2],
                host_user_ns=None if user_ns is None else user_ns == INITIAL_USER_NS,
                host_net_ns=None if net_ns is None or host_net is None else net_ns == host_net,
                no_new_privs=facts.security.no_new_privs,
                seccomp=facts.security.seccomp,
                lsm_label=facts.label,
                container=container is not None,
                host=self._host,
            )
        )

    def _named_namespaces(self, inodes: tuple[int | None, ...] | None) -> Namespaces | None:
        if inodes is None:
            return None
        found = self._namespaces.get(inodes)
        if found is None:
            cgroup, ipc, mnt, net, pid, time, user, uts = inodes
            foreign = self._foreign(inodes)
            found = self._namespaces[inodes] = Namespaces(cgroup, ipc, mnt, net, pid, time, user, uts, foreign)
        return found

    def _foreign(self, inodes: tuple[int | None, ...]) -> tuple[str, ...] | None:
        host = self._host_namespaces
        if not host:
            return None
        return tuple(
            name for name, inode in zip(NAMESPACES, inodes, strict=True) if inode not in (None, host.get(name))
        )

    def _place(self, raw: bytes | None) -> tuple[str | None, Container | None, Service | None]:
        if raw is None or "cgroup" not in self._wanted:
            return None, None, None
        found = self._places.get(raw)
        if found is None:
            place = parse_cgroup(raw)
            found = self._places[raw] = (place.path, self._container(place), place.service)
        return found

    def _container(self, place: CgroupPlace) -> Container | None:
        """Described by the runtime's state; plain runc, crun and ctr are known by their state only."""
        if self._containers is None:
            return place.container
        if place.container is not None:
            return self._containers.describe(place.container)
        return self._containers.at(place.path) if place.path else None


def capability_sets(security: SecurityLines) -> Capabilities:
    """The five masks by name."""
    masks = (security.inheritable, security.permitted, security.effective, security.bounding, security.ambient)
    return Capabilities(*map(capabilities.names, masks))


def read_host_namespaces() -> dict[str, int]:
    """The namespaces that processes are compared with; empty when they may not be read (CAP_SYS_PTRACE).

    kthreadd, pid 2 of the initial PID namespace, lives in the kernel's initial namespaces; from inside a container
    there is no kthreadd, and PID 1 stands for what "the host" can mean there.
    """
    return _namespaces_of(2 if _is_kthreadd() else 1)


def _is_kthreadd() -> bool:
    try:
        stat = parse_stat(read_file("/proc/2/stat"))
    except (OSError, ValueError):
        return False
    return stat.ppid == 0 and stat.name == b"kthreadd" and bool(stat.flags & PF_KTHREAD)


def _namespaces_of(pid: int) -> dict[str, int]:
    found = {}
    for name in NAMESPACES:  # time namespaces are from Linux 5.6
        with suppress(OSError):
            found[name] = parse_namespace(os.readlink(f"/proc/{pid}/ns/{name}"))
    return found


def _member(inodes: tuple[int | None, ...] | None, name: str) -> int | None:
    return None if inodes is None else inodes[NAMESPACES.index(name)]


def _id(number: int | None) -> int | None:
    return None if number == NO_ID else number
