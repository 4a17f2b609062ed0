"""Tracing system calls: of processes that run, or of a command that is started for it.

What eBPF programs see they see without touching a process; ptrace and Windows' debugger interface stop it at each call,
and a command is started: these are acts, and stand in the audit trail.
"""

import os
import shlex
import threading
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from hostscope.audit import AuditTrail, default_path, this_process
from hostscope.errors import Denied, Unsupported, UsageError
from hostscope.model.answer import Answer
from hostscope.model.event import Event, SystemCall
from hostscope.model.key import ProcessKey
from hostscope.model.syscall import TraceRequest, usual_calls
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control, Spawned
from hostscope.platforms.control import open_control
from hostscope.platforms.tally import Tally
from hostscope.render.mask import mask_argv

ACTING = frozenset({"ptrace", "debugger"})
"""Methods that stop the process."""
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
    request = request if request.calls else replace(request, calls=usual_calls(host.name))
    tally, outcome, control = Tally(), Outcome(), open_control(host.name)
    request = _but_for_ourselves(request, tally)
    if command:
        events = _of_command(host, control, request, stop, tally, command, outcome)
    else:
        events = _open(host, control, request, stop, tally)
    return Trace(Answer(events, tally.coverage), outcome)


def _but_for_ourselves(request: TraceRequest, tally: Tally) -> TraceRequest:
    """Each call that we show makes us call: there would be no end of it."""
    others = tuple(key for key in request.keys if key.pid != os.getpid())
    if len(others) == len(request.keys):
        return request
    if not others:
        raise UsageError("hostscope does not trace itself: each call that it shows makes it call")
    tally.skipped += 1
    tally.note("hostscope itself was left out: each call that it shows makes it call")
    return replace(request, keys=others)


def _open(host: Host, control: Control, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
    """By what only looks if that can be, else by stopping the process, unless one is asked for."""
    if request.method not in ACTING:
        try:
            return host.syscalls.watch(request, stop, tally)
        except (Denied, Unsupported) as failed:
            if request.method is not None:
                raise
            tally.method_reason = f"it cannot be seen without stopping the process: {failed}"
    _record("act.trace", ", ".join(map(str, request.keys)), f"by {request.method or 'stopping it at each call'}")
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
        _record("act.spawn", f"{child.key} {shlex.join(mask_argv(command))}", "to trace it")
        asked = replace(request, keys=(child.key,))
        if child.begins_with is None:
            events = _open(host, control, asked, stop, tally)
            child.release()
            yield from events
        else:
            yield from _from_its_beginning(host, control, asked, stop, tally, child)
        outcome.code = child.wait()


def _from_its_beginning(
    host: Host, control: Control, asked: TraceRequest, stop: threading.Event, tally: Tally, child: Spawned
) -> Iterator[Event]:
    """Calls of the program, not of the process that is still to become it."""
    shown = bool(set(asked.calls) & set(_BEGINS))
    calls = asked.calls if shown else (*asked.calls, "execve")
    events = _open(host, control, replace(asked, calls=calls), stop, tally)
    child.release()
    yield from from_exec(events, child.key, shown, tally)


def from_exec(events: Iterator[Event], key: ProcessKey, shown: bool, tally: Tally) -> Iterator[Event]:
    """Calls from the moment on at which the process `key` has become the program that is meant.

    Args:
        shown: calls of execve are wanted; else they are only looked at.
        tally: counted them all; those before that moment and those that are only looked at were not asked for.
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
        else:
            tally.seen -= 1
            tally.rows -= 1


def _record(action: str, what: str, why: str) -> None:
    AuditTrail(default_path(), this_process()).append(action, what=what, why=why, outcome="begun")
