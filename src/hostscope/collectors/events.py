"""What happens to processes: the host's own events, or where it has none, what differs between two looks."""

import threading
import time
from collections.abc import Callable, Iterator, Set

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
    ProcessExit,
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
_KINDS: dict[str, Set[str]] = {
    "started": {"start"},
    "stopped": {"exit"},
    "modified": {"exec"},
    "reused": {"start", "exit"},
}
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
    if not keys and not names:
        return Answer(_all(host, request, request.kinds, stop, tally), tally.coverage)
    wider = request.kinds | POLLED if request.kinds - SETTINGS else request.kinds  # or children could not be followed
    events = _all(host, replace(request, kinds=wider), request.kinds, stop, tally)
    return Answer(_of(Followed(keys, names), request.kinds, events, tally), tally.coverage)


def _all(
    host: Host, request: EventRequest, asked: frozenset[str], stop: threading.Event, tally: Tally
) -> Iterator[Event]:
    """Settings have a source of their own, so that they are seen whatever the method for processes is."""
    settings, others = request.kinds & SETTINGS & set(kinds_of(host.name)), request.kinds - SETTINGS
    if not settings or not others:
        return _events(host, request, asked, stop, tally)
    apart = Tally()
    beside = _settings(host, replace(request, kinds=settings, method=None, capabilities=False), stop, apart, tally)
    main = _events(host, replace(request, kinds=request.kinds - settings), asked, stop, tally)
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


def _events(
    host: Host, request: EventRequest, asked: frozenset[str], stop: threading.Event, tally: Tally
) -> Iterator[Event]:
    """`asked` is what is shown in the end: polling is no way out when it sees nothing of that."""
    if request.method == POLLING:
        return _poll(host, request, stop, tally)
    try:
        events = host.events.watch(request, stop, tally)
        host.privileges.settle(tally.method)
        return events
    except (Denied, Unsupported) as failed:
        if request.method is not None or not asked & POLLED:
            raise
        if others := sorted(request.kinds - POLLED):
            tally.note(f"polling cannot see {', '.join(others)}")
            tally.hidden = "some kinds of events cannot be watched"
        hint = f" ({failed.hint})" if failed.hint else ""
        reasons = [tally.method_reason or "", f"{failed}{hint}"]
        tally.method_reason = "; ".join(reasons[1:] if reasons[1] in reasons[0] else filter(None, reasons))
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


def _of(followed: "Followed", asked: frozenset[str], events: Iterator[Event], tally: Tally) -> Iterator[Event]:
    """The events that are of followed processes and were asked for, numbered and counted as they are given."""
    seq = 0
    for event in events:
        about = isinstance(event.body, (Loss, CoverageChange))
        if followed.admits(event) and (about or _kinds(event.body) & asked):
            yield replace(event, seq=seq)
            seq += 1
        else:
            tally.rows -= 1


def _kinds(body: Body) -> Set[str]:
    """The kinds of event that a body is of."""
    return _KINDS[body.what] if isinstance(body, ProcessChange) else {str(body.__struct_config__.tag)}


class Followed:
    """Processes that are meant, and whatever they start; of names, also processes that come later."""

    def __init__(self, keys: frozenset[ProcessKey], names: frozenset[str]) -> None:
        self._meant = {key.pid: replace(key, serial=None) for key in keys}  # as events name them
        self._living = dict(self._meant)
        self._ended: dict[ProcessKey, None] = {}
        self._names = names

    def admits(self, event: Event) -> bool:
        """Whether an event is of a followed process; takes in its children."""
        body, key = event.body, event.key
        if isinstance(body, (Loss, CoverageChange, SecurityChange)):
            return True
        if isinstance(body, ProcessChange):
            return self._admits_change(body)
        if self._begins(body):
            if key is not None:
                self._take(key)
            return True
        if not self._has(key):
            return isinstance(body, PtraceAttach) and self._has(body.target)
        if key is not None and isinstance(body, ProcessExit):
            self._end(key)
        return True

    def _begins(self, body: Body) -> bool:
        if isinstance(body, ProcessStart):
            return self._has(body.parent) or body.name in self._names
        return isinstance(body, ProcessExec) and (self._has(body.parent) or self._is_named(body.name, body.exe))

    def _admits_change(self, body: ProcessChange) -> bool:
        """Two looks know a parent by the pid that it has at the second."""
        before, after = body.before, body.after
        known = before is not None and self._has(before.key)
        if before is not None and body.what in ("stopped", "reused"):
            self._end(before.key)
        if after is None or (body.what == "modified" and known):
            return known
        parent = self._living.get(after.ppid or 0) if body.what != "modified" else None
        child = parent is not None and parent.start <= after.key.start
        if child or self._is_named(after.name, after.exe.path if after.exe else None):
            self._take(after.key)
            return True
        return known

    def _is_named(self, name: str, exe: str | None) -> bool:
        last = (exe or "").rpartition("/" if (exe or "").startswith("/") else "\\")[2]
        return name in self._names or last in self._names or exe in self._names

    def _has(self, key: ProcessKey | None) -> bool:
        return key is not None and (self._living.get(key.pid) == key or key in self._ended)

    def _take(self, key: ProcessKey) -> None:
        self._living[key.pid] = key
        if len(self._living) > MOST_FOLLOWED:
            del self._living[next(pid for pid, key in self._living.items() if self._meant.get(pid) != key)]

    def _end(self, key: ProcessKey) -> None:
        """What comes after its end, such as of its sockets, is still its own."""
        if self._living.get(key.pid) == key:
            del self._living[key.pid]
            self._ended[key] = None
        if len(self._ended) > MOST_FOLLOWED:
            del self._ended[next(iter(self._ended))]
