"""What happens to processes: from the kernel's provider of a tracing session of ours (ETW).

Settings that protect the host are watched in the registry, by themselves.
Comparing lists (polling) is the last way and needs nothing of Windows: see `hostscope.collectors.events`.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain

from hostscope.errors import Denied, Error, UsageError
from hostscope.model.event import SETTINGS, Event, EventRequest, Loss, kinds_of
from hostscope.model.key import ProcessKey
from hostscope.model.request import ProcessRequest
from hostscope.platforms import base
from hostscope.platforms.event_stream import Happening, Numbering, check_request
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import antivirus, translate
from hostscope.platforms.windows.clock import Boot, filetime_ns, read_boot
from hostscope.platforms.windows.etw import EtwSession, Provider, open_session
from hostscope.platforms.windows.event_bodies import Bodies
from hostscope.platforms.windows.native import paths
from hostscope.platforms.windows.parse_etw import KERNEL_PROCESS
from hostscope.platforms.windows.parse_etw_process import (
    KEYWORD_IMAGE,
    KEYWORD_PROCESS,
    KEYWORD_THREAD,
    parse_process_event,
)

METHOD, REGISTRY = "etw", "registry"
METHODS = (METHOD, REGISTRY)
KEYWORDS = {
    "start": KEYWORD_PROCESS,
    "exec": KEYWORD_PROCESS,
    "exit": KEYWORD_PROCESS,
    "thread": KEYWORD_THREAD,
    "image": KEYWORD_IMAGE,
}
DELAY = "the system hands events over once a second; arguments of programs that ended before are not known"


class Events:
    """Implements `hostscope.platforms.base.Events`."""

    def __init__(self, boot: Boot | None = None, processes: base.Processes | None = None) -> None:
        self._known_boot, self._processes = boot, processes

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Events in order until `stop`, the first says what the stream covers; losses stand where they were noticed.

        Raises:
            UsageError: `request` names no kind or method of this system.
            Denied, Unsupported: there is no tracing here.

        Needs: an administrator.
        """
        check(request)
        events = _settings(stop, tally) if request.kinds == SETTINGS else self._stream(request, stop, tally)
        return chain((next(events),), events)

    def _stream(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        tally.method = METHOD
        keywords = 0
        for kind in request.kinds:
            keywords |= KEYWORDS[kind]
        with ExitStack() as stack:
            session = stack.enter_context(open_session((Provider(KERNEL_PROCESS, keywords),), stop, tally))
            bodies = Bodies(self._boot(), request.kinds, self._argv, paths.drives())
            bodies.seed()
            tally.note(DELAY)
            numbering = Numbering(METHOD, tally)
            yield numbering.coverage()
            yield from _follow(session, bodies, numbering, tally)

    def _boot(self) -> Boot:
        return self._known_boot or read_boot()

    def _argv(self, key: ProcessKey) -> tuple[str, ...] | None:
        """Arguments of a process that is still there."""
        if self._processes is None:
            return None
        try:
            process = self._processes.read(key.pid, ProcessRequest(fields=frozenset({"argv"})))
        except Error:
            return None
        return process.argv if process.key.same(key) else None


def _settings(stop: threading.Event, tally: Tally) -> Iterator[Event]:
    """Changes of settings that protect the host. Raises `Denied` when every key is closed to us."""
    closed: list[str] = []

    def refused(key: str, failed: OSError) -> None:
        closed.append(key)
        tally.hidden = "some settings cannot be watched"
        tally.note(f"{key} is not watched: {translate.error('the registry', failed)}")

    tally.method = REGISTRY
    changes = antivirus.watch_keys(stop, refused)
    if len(closed) == len(antivirus.WATCHED):
        raise Denied("the security settings: access denied", "their keys in the registry are closed to you")
    numbering = Numbering(REGISTRY, tally)
    yield numbering.coverage()
    for change in changes:
        yield numbering.event(Happening(0, None, change))


def _follow(session: EtwSession, bodies: Bodies, numbering: Numbering, tally: Tally) -> Iterator[Event]:
    lost = 0
    for batch in session.batches():
        for record in batch:
            try:
                parsed = parse_process_event(record)
            except ValueError as nonsense:
                tally.failed += 1
                tally.note(f"an event that makes no sense: {nonsense}")
                continue
            if parsed is not None:
                for key, body in bodies.of(record, parsed):
                    yield numbering.event(Happening(filetime_ns(record.filetime), key, body))
        total = session.lost().total
        if total > lost:
            yield numbering.event(Happening(0, None, Loss(total - lost, "the tracing session had no room for them")))
            lost = total


def check(request: EventRequest) -> None:
    """Raises `UsageError` for kinds and methods that there are not."""
    known = kinds_of("windows")
    check_request(request, known, METHODS)
    if request.capabilities:
        raise UsageError("Windows has no capabilities", "leave --capabilities out")
    if request.method == (METHOD if request.kinds <= SETTINGS else REGISTRY):
        raise UsageError(f"{request.method} has no events of kind {', '.join(sorted(request.kinds))}")
    if request.kinds & SETTINGS and request.kinds - SETTINGS:
        raise UsageError("security is watched apart from other kinds")
