"""What a process is allowed, what protects it and what holds it back, of one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from msgspec import Struct

from hostscope.errors import Unsupported
from hostscope.model.gap import Gap
from hostscope.model.process import Account
from hostscope.model.security import Security
from hostscope.model.windows import Job, Mitigation, Token
from hostscope.platforms.windows.native import handles
from hostscope.platforms.windows.powers import Facts, derive_powers
from hostscope.platforms.windows.protection import read_job, read_protection
from hostscope.platforms.windows.tokens import TokenFacts, Tokens, refused

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

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = tokens or Tokens()

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

    def _read(self, pid: int, process: int, wanted: frozenset[str]) -> SecurityContext:
        facts = self._tokens.read(process, wanted)
        gaps = list(facts.gaps)
        job = read_job(pid, process, gaps) if "cgroup" in wanted else None
        shield = read_protection(pid, process) if "security" in wanted else None
        return SecurityContext(
            owner=facts.owner,
            groups=facts.groups,
            security=_powers(facts, job),
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


def _powers(facts: TokenFacts, job: Job | None) -> Security | None:
    token = facts.token
    if token is None:
        return None
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
            job=None if job is None else True,
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
