"""Tracing system calls: of processes that run, or of a command that is started for it.

What eBPF programs see they see without touching a process; ptrace stops it at each call, and a command is started: both
are acts, and stand in the audit trail.
"""

import shlex
import threading
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from hostscope.audit import AuditTrail, default_path, this_process
from hostscope.errors import Denied, Unsupported
from hostscope.model.answer import Answer
from hostscope.model.event import Event, SystemCall
from hostscope.model.key import ProcessKey
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.base import Control, Host
from hostscope.platforms.control import open_control
from hostscope.platforms.tally import Tally

PTRACE = "ptrace"
_BEGINS = ("execve", "process", "all")
"""Calls and groups that show how a command begins."""


class Outcome(Struct):
    """How the command ended; filled when its events are through."""

    code: int | None = None


class Trace(Struct, frozen=True):
    """What is traced."""

    answer: Answer[Event]
    outcome: Outcome


def trace(host: Host, request: TraceRequest, stop: threading.Event, command: tuple[str, ...] = ()) -> Trace:
    """System calls until `stop`, or until all traced processes have ended.

    Raises:
        UsageError, Gone, Denied, Mismatch, Unsupported
    """
    tally, outcome, control = Tally(), Outcome(), open_control(host.name)
    if command:
        events = _of_command(host, control, request, stop, tally, command, outcome)
    else:
        events = _open(host, control, request, stop, tally)
    return Trace(Answer(events, tally.coverage), outcome)


def _open(host: Host, control: Control, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
    """By eBPF if that can be, else by ptrace, unless one is asked for."""
    if request.method != PTRACE:
        try:
            return host.syscalls.watch(request, stop, tally)
        except (Denied, Unsupported) as failed:
            if request.method is not None:
                raise
            tally.method_reason = f"eBPF cannot be used: {failed}"
    _record("act.trace", ", ".join(map(str, request.keys)), "by ptrace")
    return control.trace(request, stop, tally)


def _of_command(
    host: Host,
    control: Control,
    request: TraceRequest,
    stop: threading.Event,
    tally: Tally,
    command: tuple[str, ...],
    outcome: Outcome,
) -> Iterator[Event]:
    with control.spawn(command) as child:
        _record("act.spawn", f"{child.key} {shlex.join(command)}", "to trace it")
        calls = request.calls if set(request.calls) & set(_BEGINS) else (*request.calls, "execve")
        asked = replace(request, keys=(child.key,), calls=calls)
        events = _open(host, control, asked, stop, tally)
        child.release()
        yield from from_exec(events, child.key, shown=calls == request.calls)
        outcome.code = child.wait()


def from_exec(events: Iterator[Event], key: ProcessKey, shown: bool) -> Iterator[Event]:
    """Calls from the moment on at which the process `key` has become the program that is meant.

    Args:
        shown: calls of execve are wanted; else they are only looked at.
    """
    begun = False
    for event in events:
        body = event.body
        if not isinstance(body, SystemCall):
            yield event
            continue
        execs = body.call == "execve"
        begun = begun or (execs and body.result == 0 and event.key == key)
        if begun and (shown or not execs):
            yield event


def _record(action: str, what: str, why: str) -> None:
    AuditTrail(default_path(), this_process()).append(action, what=what, why=why, outcome="begun")
