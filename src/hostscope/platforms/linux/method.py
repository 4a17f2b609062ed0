"""Which method a sweep uses, and why not the better one."""

import os
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from hostscope.errors import Error, UsageError
from hostscope.model.request import ProcessRequest
from hostscope.platforms.linux import translate
from hostscope.platforms.linux.privileges import Privileges

if TYPE_CHECKING:  # imported with the first sweep that it pays for
    from hostscope.platforms.linux.iterator import TaskIterator
    from hostscope.platforms.linux.task_record import Want

METHODS = ("iterator", "proc")
"""Best first."""

LOAD_PROGRAMS = ("bpf", "perfmon")
"""What loading a tracing program takes since Linux 5.8."""
LOAD_PROGRAMS_OLD = ("sys_admin",)
"""The same where only CAP_SYS_ADMIN is held."""

WORTHWHILE = 250
"""Processes from which on loading the programs pays: it takes some 15 ms with its imports, /proc 50 µs a row."""

SLOW_FIELDS = frozenset({"memory_detail"})
"""Fields that only /proc has: with them a sweep reads every process there anyway."""


class Sweep(NamedTuple):
    """The programs in the kernel, and one pass over all processes that has begun."""

    iterator: "TaskIterator"
    chunks: Iterator[bytes]


class Programs:
    """The program of the last sweep, kept in the kernel for the next one that wants the same fields: loading it takes
    as long as reading a thousand processes. It runs only while a sweep reads.

    Several sweeps at once each have their own; the last one to end leaves its program.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Want, TaskIterator]] = []
        weakref.finalize(self, _close_all, self._kept)

    def take(self, want: "Want") -> "TaskIterator":
        """A program that nobody else reads from. Raises: as `TaskIterator`."""
        from hostscope.platforms.linux.iterator import TaskIterator

        while self._kept:
            kept, iterator = self._kept.pop()
            if kept == want:
                return iterator
            iterator.close()
        return TaskIterator(want)

    @contextmanager
    def lend(self, sweep: Sweep) -> Iterator[Sweep]:
        """Keeps the program of the sweep when the block ends well."""
        with ExitStack() as failed:
            failed.push(sweep.iterator)
            yield sweep
            failed.pop_all()
        sweep.iterator.end_pass()
        kept, self._kept[:] = self._kept[:], [(sweep.iterator.want, sweep.iterator)]
        _close_all(kept)

    def close(self) -> None:
        """Takes what is kept out of the kernel."""
        _close_all(self._kept)


def _close_all(kept: "list[tuple[Want, TaskIterator]]") -> None:
    while kept:
        kept.pop()[1].close()


def check(method: str | None) -> None:
    """Raises UsageError unless the method is one of ours."""
    if method is not None and method not in METHODS:
        raise UsageError(f"there is no method {method!r}", f"methods here: {', '.join(METHODS)}")


def open_iterator(
    request: ProcessRequest, privileges: Privileges, programs: Programs, columns: bool = False
) -> tuple[Sweep | None, str | None]:
    """The iterator, or None and why /proc is read instead.

    Args:
        columns: its records are for `task_columns`.

    Raises:
        HostError, Denied: the request insists on the iterator, and it cannot be had.
    """
    if request.method == "proc":
        return None, "asked for by --method"
    reason = None if request.method else _not_worthwhile(request.wanted)
    if reason:
        return None, reason
    from hostscope.platforms.linux.iterator import want_of, want_of_columns

    try:
        want = want_of_columns(request.wanted) if columns else want_of(request.wanted)
        return _begin(want, privileges, programs), None
    except (Error, OSError) as failed:
        if request.method == "iterator":
            raise failed if isinstance(failed, Error) else translate.error("load the iterator", failed) from failed
        return None, f"the iterator cannot be used: {failed}"


def _begin(want: "Want", privileges: Privileges, programs: Programs) -> Sweep:
    """Kernels before 5.19 want the capability for opening the pass too, so it is opened before it is lowered."""
    with privileges.using(_needed(privileges), "load the process iterator"), ExitStack() as unfinished:
        iterator = unfinished.enter_context(programs.take(want))
        sweep = Sweep(iterator, iterator.chunks())
        unfinished.pop_all()
        return sweep


def _needed(privileges: Privileges) -> tuple[str, ...]:
    held = privileges.available(LOAD_PROGRAMS)
    return LOAD_PROGRAMS if len(held) == len(LOAD_PROGRAMS) else LOAD_PROGRAMS_OLD


def _not_worthwhile(wanted: frozenset[str]) -> str | None:
    slow = sorted(wanted & SLOW_FIELDS)
    if slow:
        return f"{', '.join(slow)} can only be read from /proc"
    processes = count_processes()
    if processes < WORTHWHILE:
        return f"about {processes} processes: reading /proc is as fast as loading the iterator"
    return None


def count_processes() -> int:
    """About how many processes there are: /proc has a link for each (fs/proc/root.c, proc_root_getattr)."""
    return os.stat("/proc").st_nlink
