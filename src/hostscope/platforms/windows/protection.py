"""What protects one process, field by field: each refusal costs its own field only."""

import os
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from hostscope.model.gap import Gap, Reason
from hostscope.model.windows import Job, Mitigation
from hostscope.platforms.windows import parse_protection as parse
from hostscope.platforms.windows.attempts import as_gap, attempt, value_of
from hostscope.platforms.windows.native import handles, jobs
from hostscope.platforms.windows.native import protection as native
from hostscope.platforms.windows.translate import ERROR_INVALID_PARAMETER, ERROR_NOT_SUPPORTED, REFUSED

Value = TypeVar("Value")
NOT_HERE = frozenset({ERROR_INVALID_PARAMETER, ERROR_NOT_SUPPORTED})
"""Of a policy: this Windows, or this kind of process, has none of that name."""
LIMITS_DETAIL = "Windows tells the limits of a job only to who has a handle of it"


class Protection(NamedTuple):
    """What was read; None where it is in a gap."""

    level: str | None
    critical: bool | None
    secure: bool | None
    subsystem: bool | None
    """A pico process: a Linux program of WSL 1."""
    mitigations: tuple[Mitigation, ...] | None
    gaps: tuple[Gap, ...]


def read_protection(pid: int, process: int) -> Protection:
    """Everything that protects a process.

    Args:
        process: a handle with PROCESS_QUERY_LIMITED_INFORMATION; policies take more, and open their own where needed.

    Cost: three calls, and seventeen for the policies.
    """
    marks = read_marks(process)
    gaps = list(marks.gaps)
    mitigations = value_of(attempt("windows.mitigations", _fuller, pid, process, read_mitigations), gaps)
    return marks._replace(mitigations=mitigations, gaps=tuple(gaps))


def read_marks(process: int) -> Protection:
    """What only the kernel gives a process, without its policies. Cost: three calls."""
    gaps: list[Gap] = []
    level = value_of(attempt("windows.protection", native.read_protection, process), gaps)
    flags = value_of(attempt("windows.secure", native.read_flags, process), gaps)
    return Protection(
        level=None if level is None else parse.protection(level),
        critical=value_of(attempt("windows.critical", native.is_critical, process), gaps),
        secure=None if flags is None else bool(flags & parse.SECURE),
        subsystem=None if flags is None else bool(flags & parse.SUBSYSTEM),
        mitigations=None,
        gaps=tuple(gaps),
    )


def read_mitigations(process: int) -> tuple[Mitigation, ...]:
    """Every policy that this Windows has.

    Raises:
        SystemRefused
    """
    found = ((policy, _flags(process, policy)) for policy in parse.POLICIES)
    return tuple(parse.mitigation(policy, flags) for policy, flags in found if flags is not None)


def _fuller(pid: int, process: int, read: Callable[[int], Value]) -> Value:
    """What `read` tells with the given handle, or with one that may ask for more where that is refused."""
    try:
        return read(process)
    except OSError as failed:
        if getattr(failed, "winerror", None) not in REFUSED:
            raise
    with handles.opened(pid, handles.PROCESS_QUERY_INFORMATION) as fuller:
        return read(fuller)


def _flags(process: int, policy: int) -> int | None:
    try:
        return native.read_policy(process, policy)
    except OSError as failed:
        if getattr(failed, "winerror", None) in NOT_HERE:
            return None
        raise


def read_job(pid: int, process: int, gaps: list[Gap]) -> Job | None:
    """The job of a process; None without a gap when it is in none.

    Cost: one call; our own process's limits take another.
    """
    if not value_of(attempt("windows.job", _fuller, pid, process, jobs.is_in_job), gaps):
        return None
    if pid != os.getpid():
        gaps.append(Gap("windows.job.limits", Reason.UNSUPPORTED, LIMITS_DETAIL))
        return Job(None, None, None)
    try:
        return Job(None, None, None, parse.limits(jobs.read_limits(None)))
    except OSError as failed:
        gaps.append(as_gap("windows.job.limits", failed))
        return Job(None, None, None)
