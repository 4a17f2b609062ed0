"""What a process is allowed, what protects it and what holds it back, of one process at a time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from msgspec import Struct
from msgspec.structs import replace

from hostscope.errors import Unsupported
from hostscope.model.container import Container
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Account, Process
from hostscope.model.security import Security
from hostscope.model.windows import Job, Mitigation, Token
from hostscope.platforms.windows.attempts import as_gap, attempt, value_of
from hostscope.platforms.windows.containers import Containers
from hostscope.platforms.windows.native import handles
from hostscope.platforms.windows.powers import Facts, derive_powers
from hostscope.platforms.windows.protection import read_job, read_protection
from hostscope.platforms.windows.roles import MACHINES, system_process
from hostscope.platforms.windows.tokens import MAX_REMEMBERED, TokenFacts, Tokens, has_thread_token, refused

GROUPS = frozenset({"owner", "groups", "security", "cgroup"})
"""Groups of fields that are answered here."""
IDLE = 0
"""No process: what processors count when they have nothing to do. It has no token."""


class SecurityContext(Struct, frozen=True, gc=False):
    """Parts of a `Process` and its `WindowsContext`; what was not wanted is None without a gap."""

    owner: Account | None = None
    groups: tuple[Account, ...] | None = None
    security: Security | None = None
    integrity: str | None = None
    token: Token | None = None
    protection: str | None = None
    critical: bool | None = None
    secure: bool | None = None
    subsystem: bool | None = None
    """A pico process: a Linux program of WSL 1; for `containers`."""
    mitigations: tuple[Mitigation, ...] | None = None
    job: Job | None = None
    gaps: tuple[Gap, ...] = ()


class SecurityContexts:
    """Security contexts for one host; equal parts are one object. For several threads."""

    def __init__(self, tokens: Tokens | None = None, containers: Containers | None = None) -> None:
        self._tokens = tokens or Tokens()
        self._containers = containers or Containers()
        self._powers: dict[tuple[int, bool], tuple[TokenFacts, Security]] = {}
        """By the identity of what was derived from, which is kept so that it stays one."""

    def of(self, pid: int, handle: int | None, wanted: frozenset[str]) -> SecurityContext:
        """The context of one process; a refusal is a gap, never an error.

        Args:
            pid: of the process.
            handle: one with PROCESS_QUERY_LIMITED_INFORMATION; None to have one opened.
            wanted: groups of fields, of which those in `GROUPS` mean something here.
        """
        if pid == IDLE or not wanted & GROUPS:
            return SecurityContext()
        try:
            with _held(pid, handle) as process:
                return self._read(pid, process, wanted)
        except (OSError, Unsupported) as failed:
            return SecurityContext(gaps=refused(wanted, failed).gaps)

    def without_group_names(self) -> "SecurityContexts":
        """The same without names of groups, which a domain's controller may have to be asked for."""
        return SecurityContexts(self._tokens.without_group_names(), self._containers)

    def account(self, sid: bytes) -> Account:
        """The account of a SID that was told by something else than a token; raises ValueError."""
        return self._tokens.account(sid)

    def _derived(self, facts: TokenFacts, in_job: bool) -> Security | None:
        if facts.token is None:
            return None
        known = self._powers.get((id(facts), in_job))
        if known is None:
            if len(self._powers) >= MAX_REMEMBERED:
                self._powers.clear()
            known = self._powers[id(facts), in_job] = facts, _powers(facts, facts.token, in_job)
        return known[1]

    def place(self, process: Process, context: SecurityContext, wanted: frozenset[str]) -> Process:
        """The finished record with its container, and which of the system's own processes it is.

        Both follow from the rest of it. The context is the one that `of` gave.
        """
        if not wanted & {"security", "cgroup"} or process.pid == IDLE:
            return process
        container = self._container(process, context) if "cgroup" in wanted else None
        gaps: list[Gap] = []
        word = (
            value_of(attempt("windows.system_process", system_process, process), gaps) if "security" in wanted else None
        )
        windows = process.windows
        silo = _in_silo(container)
        if windows and (word or silo):
            windows = replace(windows, system_process=word, job=_job(windows.job, container) if silo else windows.job)
        security = _confined(process.security) if silo else process.security
        return replace(process, container=container, windows=windows, security=security, gaps=(*process.gaps, *gaps))

    def with_threads(self, process: Process, threads: Iterable[int]) -> Process:
        """The record with the threads that run with another token; one that ended meanwhile does not.

        Cost: two calls for each thread, or three and what its token takes.
        """
        windows = process.windows
        if windows is None or windows.token is None:
            return process
        gaps: list[Gap] = []
        found = tuple(tid for tid in threads if self._impersonates(tid, gaps))
        token = replace(windows.token, impersonating=found)
        return replace(process, windows=replace(windows, token=token), gaps=(*process.gaps, *gaps[:1]))

    def _impersonates(self, tid: int, gaps: list[Gap]) -> bool:
        try:
            with handles.opened_thread(tid, handles.THREAD_QUERY_LIMITED_INFORMATION) as thread:
                return has_thread_token(thread)
        except (OSError, Unsupported) as failed:
            gap = as_gap("windows.token.impersonating", failed)
            gaps += [gap] if gap.reason is not Reason.GONE else []
            return False

    def _container(self, process: Process, context: SecurityContext) -> Container | None:
        windows, owner = process.windows, process.owner
        return self._containers.at(
            process.pid,
            process.name,
            process.argv,
            windows.native_path if windows else None,
            owner.id if owner else None,
            context.subsystem,
        )

    def _read(self, pid: int, process: int, wanted: frozenset[str]) -> SecurityContext:
        facts = self._tokens.read(process, wanted)
        gaps = list(facts.gaps)
        job = read_job(pid, process, gaps) if "cgroup" in wanted else None
        shield = read_protection(pid, process) if "security" in wanted else None
        return SecurityContext(
            owner=facts.owner,
            groups=facts.groups,
            security=self._derived(facts, job is not None),
            integrity=facts.integrity,
            token=facts.token,
            protection=shield.level if shield else None,
            critical=shield.critical if shield else None,
            secure=shield.secure if shield else None,
            subsystem=shield.subsystem if shield else None,
            mitigations=shield.mitigations if shield else None,
            job=job,
            gaps=(*gaps, *shield.gaps) if shield else tuple(gaps),
        )


def _in_silo(container: Container | None) -> bool:
    """Whether the Host Compute Service listed it as a member: then it is in the container's server silo."""
    return container is not None and container.source == "state" and container.runtime not in MACHINES


def _job(job: Job | None, container: Container | None) -> Job | None:
    return replace(job, silo=True, server_silo=True, container_id=container.id) if job and container else job


def _confined(security: Security | None) -> Security | None:
    return replace(security, confined_by=(*security.confined_by, "server silo")) if security else None


def _powers(facts: TokenFacts, token: Token, in_job: bool) -> Security:
    groups = token.groups
    return derive_powers(
        Facts(
            user=token.user_sid,
            groups=None if groups is None else frozenset(g.sid for g in groups if "enabled" in g.attributes),
            denied_groups=frozenset(g.sid for g in groups or () if "deny-only" in g.attributes),
            privileges=None if token.privileges is None else tuple((p.name, p.state) for p in token.privileges),
            integrity=facts.integrity,
            app_container=None if _lacks(facts, "windows.token.app_container") else token.app_container is not None,
            capabilities=frozenset(token.app_capabilities or ()),
            restricted=token.restricted,
            elevation=token.elevation,
            job=in_job,
        )
    )


def _lacks(facts: TokenFacts, field: str) -> bool:
    return any(gap.field == field for gap in facts.gaps)


@contextmanager
def _held(pid: int, handle: int | None) -> Iterator[int]:
    given = (
        nullcontext(handle) if handle is not None else handles.opened(pid, handles.PROCESS_QUERY_LIMITED_INFORMATION)
    )
    with given as process:
        yield process
