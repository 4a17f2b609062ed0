"""What happens to processes: the host's own events, or where it has none, what differs between two looks."""

import threading
import time
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from hostscope.collectors import lifecycle
from hostscope.collectors.errors import refuse_recording
from hostscope.collectors.joined_events import joined
from hostscope.errors import Denied, Unsupported, UsageError
from hostscope.model.answer import Answer
from hostscope.model.event import (
    EVERYTHING,
    SCHEMAS,
    SETTINGS,
    Body,
    CoverageChange,
    Event,
    EventRequest,
    Loss,
    ProcessChange,
    ProcessExec,
    ProcessStart,
    PtraceAttach,
    SecurityChange,
    kinds_of,
)
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import BASIC, ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

POLLING = "polling"
POLLED = frozenset({"start", "exec", "exit"})
MOST_FOLLOWED = 65_536
_KINDS = {"started": {"start"}, "stopped": {"exit"}, "modified": {"exec"}, "reused": {"start", "exit"}}
_MISSES = "polling sees what is there at each look: whatever begins and ends in between is missed"


def collect(
    host: Host,
    request: EventRequest,
    stop: threading.Event,
    keys: frozenset[ProcessKey] = frozenset(),
    names: frozenset[str] = frozenset(),
) -> Answer[Event]:
    """Events until `stop`; with `keys` or `names` only those of these processes and of all that they start.

    Raises:
        UsageError: no such kind or method.
        Denied, Unsupported: the named method cannot be used here, or none can.
    """
    if EVERYTHING in request.kinds:
        request = replace(request, kinds=frozenset(kinds_of(host.name)))
    tally = Tally()
    events = _all(host, request, stop, tally)
    if keys or names:
        followed = Followed(keys, names)
        events = (event for event in events if followed.admits(event))
    return Answer(events, tally.coverage)


def _all(host: Host, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
    """Settings have a source of their own, so that they are seen whatever the method for processes is."""
    settings, others = request.kinds & SETTINGS & set(kinds_of(host.name)), request.kinds - SETTINGS
    if not settings or not others:
        return _events(host, request, stop, tally)
    apart = Tally()
    beside = _settings(host, replace(request, kinds=settings, method=None, capabilities=False), stop, apart, tally)
    main = _events(host, replace(request, kinds=request.kinds - settings), stop, tally)
    tally.notes += apart.notes
    tally.hidden = tally.hidden or apart.hidden
    return joined(main, beside, stop, tally) if beside else main


def _settings(
    host: Host, request: EventRequest, stop: threading.Event, tally: Tally, told: Tally
) -> Iterator[Event] | None:
    try:
        return host.events.watch(request, stop, tally)
    except (Denied, Unsupported) as failed:
        told.hidden = "some kinds of events cannot be watched"
        told.note(f"{', '.join(sorted(request.kinds))} cannot be watched: {failed}")
        return None


def _events(host: Host, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
    if request.method == POLLING:
        return _poll(host, request, stop, tally)
    try:
        events = host.events.watch(request, stop, tally)
        host.privileges.settle(tally.method)
        return events
    except (Denied, Unsupported) as failed:
        if request.method is not None or not request.kinds & POLLED:
            raise
        if others := sorted(request.kinds - POLLED):
            tally.note(f"polling cannot see {', '.join(others)}")
            tally.hidden = "some kinds of events cannot be watched"
        hint = f" ({failed.hint})" if failed.hint else ""
        tally.method_reason = "; ".join(filter(None, [tally.method_reason, f"{failed}{hint}"]))
    return _poll(host, replace(request, kinds=request.kinds & POLLED, capabilities=False), stop, tally)


# Polling --------------------------------------------------------------------------------------------------------------


def _poll(host: Host, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
    """The first look is made at once: it fails where the caller can see it."""
    refuse_recording(host)
    unknown = sorted(request.kinds - set(kinds_of(host.name)))
    if unknown or request.capabilities or request.kinds - POLLED:
        others = unknown or [*sorted(request.kinds - POLLED), *(["capabilities"] if request.capabilities else [])]
        raise UsageError(f"polling cannot see {', '.join(others)}", f"kinds: {', '.join(sorted(POLLED))}")
    tally.method = POLLING
    tally.note(_MISSES)
    host.privileges.settle(POLLING)
    return _polled(host, request, stop, tally, _look(host))


def _polled(
    host: Host, request: EventRequest, stop: threading.Event, tally: Tally, before: list[Process]
) -> Iterator[Event]:
    number = _numbering(tally)
    yield number(None, CoverageChange(tally.coverage()))
    while not stop.wait(request.interval_s):
        after = _look(host)
        for change in lifecycle.changes(before, after):
            if _KINDS[change.what] & request.kinds:
                yield number(_key(change), change)
        before = after


def _look(host: Host) -> list[Process]:
    return list(host.processes.sweep(ProcessRequest(fields=BASIC), Tally()))


def _key(change: ProcessChange) -> ProcessKey | None:
    process = change.after or change.before
    return process.key if process else None


def _numbering(tally: Tally) -> Callable[[ProcessKey | None, Body], Event]:
    seq = -1

    def event(key: ProcessKey | None, body: Body) -> Event:
        nonlocal seq
        seq += 1
        if not isinstance(body, CoverageChange):
            tally.seen += 1
            tally.rows += 1
        return Event(SCHEMAS[type(body)], POLLING, seq, time.time_ns(), time.monotonic_ns(), key, body)

    return event


# Following ------------------------------------------------------------------------------------------------------------


class Followed:
    """Processes that are meant, and whatever they start; of names, also processes that come later."""

    def __init__(self, keys: frozenset[ProcessKey], names: frozenset[str]) -> None:
        self._keys = dict.fromkeys(keys)
        self._names = names

    def admits(self, event: Event) -> bool:
        """Whether an event is of a followed process; takes in its children."""
        body, key = event.body, event.key
        if isinstance(body, (Loss, CoverageChange, SecurityChange)):
            return True
        if key is not None and key in self._keys:
            return True
        if key is not None and self._begins(body):
            self._take(key)
            return True
        return isinstance(body, PtraceAttach) and body.target in self._keys

    def _begins(self, body: Body) -> bool:
        if isinstance(body, ProcessStart):
            return body.parent in self._keys or body.name in self._names
        if isinstance(body, ProcessExec):
            return self._is_named(body.name, body.exe)
        process = body.after if isinstance(body, ProcessChange) else None
        return process is not None and self._is_named(process.name, process.exe.path if process.exe else None)

    def _is_named(self, name: str, exe: str | None) -> bool:
        last = (exe or "").rpartition("/" if (exe or "").startswith("/") else "\\")[2]
        return name in self._names or last in self._names or exe in self._names

    def _take(self, key: ProcessKey) -> None:
        self._keys[key] = None
        if len(self._keys) > MOST_FOLLOWED:
            del self._keys[next(iter(self._keys))]
