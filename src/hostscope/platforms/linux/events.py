"""What happens to processes: from the kernel's ring, else from its process connector.

Comparing lists (polling) is the last way and needs nothing of Linux: see `hostscope.collectors.events`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from operator import attrgetter

from hostscope.errors import Denied, Error, Unsupported, UsageError
from hostscope.model.event import KINDS, Event, EventRequest
from hostscope.model.request import ProcessRequest
from hostscope.model.socket import SocketRequest
from hostscope.platforms.base import Processes
from hostscope.platforms.base_network import Sockets
from hostscope.platforms.event_stream import Happening, Numbering, check_request
from hostscope.platforms.linux import iterator
from hostscope.platforms.linux.accepted import Listeners
from hostscope.platforms.linux.clock import Boot, since_boot_ns
from hostscope.platforms.linux.connector_events import CONNECTOR_KINDS, LIMITS, ConnectorEvents, messages_for
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.event_groups import ContainerIds
from hostscope.platforms.linux.event_lineage import Lineage
from hostscope.platforms.linux.event_ring import ELSEWHERE, EventRing, programs_for, tracepoints
from hostscope.platforms.linux.live import READ_OTHERS
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.proc_connector import ProcConnector, What
from hostscope.platforms.linux.program_cache import load_image
from hostscope.platforms.tally import Tally

METHODS = ("ring-buffer", "proc-connector")
"""Best first."""
LOAD_PROGRAMS = ("bpf", "perfmon")
LISTEN_CONNECTOR = ("net_admin",)
PAUSE_S = 0.02
"""Between two looks into an empty ring: the programs wake nobody, which is what makes them cheap."""
LISTENING = SocketRequest(states=frozenset({"listen"}), tcp_details=False)
POWERS_COST = "capabilities: a program runs at the end of every system call of the host, about 0.1 us each"


class Events:
    """Implements `hostscope.platforms.base.Events`."""

    def __init__(
        self, boot: Boot, privileges: Privileges, processes: Processes, containers: Containers, sockets: Sockets
    ) -> None:
        self._boot, self._privileges, self._processes = boot, privileges, processes
        self._containers, self._sockets = containers, sockets

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Events in order until `stop`, the first says what the stream covers; losses stand where they happened.

        What is in the kernel's buffers at the end is still given.

        Raises:
            UsageError: `request` names no kind or method of this system.
            Denied, Unsupported: the named method cannot be used here, or without a name none can.

        Needs: CAP_BPF and CAP_PERFMON, or CAP_NET_ADMIN for the second method.
        """
        check(request)
        events = self._stream(request, stop, tally)
        return chain((next(events),), events)

    def _stream(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        with ExitStack() as stack:
            sources = self._open(request, tally, stack)
            numbering = Numbering(tally.method, tally, since_boot_ns)
            yield numbering.coverage()
            for happening in _follow(sources, stop):
                yield numbering.event(happening)

    def _open(self, request: EventRequest, tally: Tally, stack: ExitStack) -> "list[_Source]":
        methods = (request.method,) if request.method else METHODS
        denied: Denied | None = None
        for place, method in enumerate(methods):
            tally.method = method
            try:
                with ExitStack() as unfinished:
                    open_source = self._open_ring if method == "ring-buffer" else self._open_connector
                    sources = open_source(request, tally, unfinished)
                    stack.push(unfinished.pop_all())
                    return sources
            except (Denied, Unsupported) as failed:
                if place == len(methods) - 1 and denied is None:
                    raise
                hint = f" ({failed.hint})" if failed.hint else ""
                tally.method_reason = f"the {method} cannot be used: {failed}{hint}"
                denied = denied or (failed if isinstance(failed, Denied) else None)
        if denied is not None:
            raise denied
        raise AssertionError("there are methods")

    # The ring -------------------------------------------------------------------------------------------------------

    def _open_ring(self, request: EventRequest, tally: Tally, stack: ExitStack) -> "list[_Source]":
        if obstacle := iterator.obstacle():
            raise Unsupported(obstacle)
        found = load_image("events")
        entries = {"ring": request.buffer_bytes} if request.buffer_bytes else {}
        programs = stack.enter_context(Programs(found.image, entries=entries))
        with self._privileges.using(LOAD_PROGRAMS, "watch events"):
            attached = _attach(programs, programs_for(request), request, tally)
            lineage, containers = Lineage(), ContainerIds(self._containers)
            listeners = self._listeners(request, tally)
            ring = EventRing(programs, self._boot, lineage, containers, listeners.of, request.kinds)
        if found.note:
            tally.note(f"eBPF programs: {found.note}")
        if attached:
            tally.effects.append(f"eBPF programs on the tracepoints {tracepoints(attached)}")
        self._seed(lineage)
        return [_Ring(ring, programs, attached), *self._beside(request, tally, stack, lineage)]

    def _beside(self, request: EventRequest, tally: Tally, stack: ExitStack, lineage: Lineage) -> "list[_Source]":
        """The connector, for what the ring does not have; without it the rest is watched, and the answer says so."""
        if not request.kinds & ELSEWHERE:
            return []
        try:
            return [self._connector(request, tally, stack, lineage, alone=False)]
        except (Denied, Unsupported) as failed:
            if not request.kinds - ELSEWHERE:
                raise
            tally.note(f"{', '.join(sorted(request.kinds & ELSEWHERE))} cannot be watched: {failed}")
            tally.hidden = "some kinds of events cannot be watched"
            return []

    def _seed(self, lineage: Lineage) -> None:
        """Everything that runs already, once, after the programs are attached: so nobody is missed."""
        lineage.seed(self._processes.sweep(ProcessRequest(fields=frozenset()), Tally()))

    def _listeners(self, request: EventRequest, tally: Tally) -> Listeners:
        """Who listens already, once, after the programs are attached."""
        if "socket" not in request.kinds:
            return Listeners(())
        try:
            return Listeners(self._sockets.sweep(LISTENING, Tally()))
        except (Error, OSError) as failed:
            tally.note(f"whose sockets listened before is not known: {failed}")
            return Listeners(())

    # The connector --------------------------------------------------------------------------------------------------

    def _open_connector(self, request: EventRequest, tally: Tally, stack: ExitStack) -> "list[_Source]":
        missing = [*sorted(request.kinds - CONNECTOR_KINDS.keys()), *(["capabilities"] if request.capabilities else [])]
        if missing and (request.method or not request.kinds & CONNECTOR_KINDS.keys()):
            raise Unsupported(f"the proc-connector does not tell of {', '.join(missing)}")
        if missing:
            tally.note(f"{', '.join(missing)} cannot be watched: the proc-connector does not tell of them")
            tally.hidden = "some kinds of events cannot be watched"
        lineage = Lineage()
        source = self._connector(request, tally, stack, lineage, alone=True)
        if "exec" in request.kinds:  # all the time: two lines of the trail for each program would be too many
            stack.enter_context(self._privileges.using(READ_OTHERS, "see what programs processes run"))
        tally.note(LIMITS)
        self._seed(lineage)
        return [source]

    def _connector(
        self, request: EventRequest, tally: Tally, stack: ExitStack, lineage: Lineage, alone: bool
    ) -> "_Source":
        if obstacle := iterator.obstacle():
            raise Unsupported(obstacle)
        connector = stack.enter_context(self._subscribed(messages_for(request, alone)))
        tally.effects.append("a subscription to the process connector")
        return ConnectorEvents(connector, self._boot, lineage, request.kinds)

    @contextmanager
    def _subscribed(self, messages: frozenset[What]) -> Iterator[ProcConnector]:
        """Ending a subscription takes the same privilege: before Linux 6.6 it is never ended without."""
        with self._privileges.using(LISTEN_CONNECTOR, "listen to the process connector"):
            connector = ProcConnector(messages)
        try:
            yield connector
        finally:
            with self._privileges.using(LISTEN_CONNECTOR, "end the subscription to the process connector"):
                connector.close()


class _Ring:
    """The ring as a source, which can be told to end."""

    def __init__(self, ring: EventRing, programs: Programs, attached: tuple[str, ...]) -> None:
        self._ring, self._programs, self._attached = ring, programs, attached

    def read(self) -> Iterator[Happening]:
        return self._ring.read()

    def finish(self) -> Iterator[Happening]:
        """Detaches the programs, so that there is an end, and gives what they wrote."""
        for name in self._attached:
            self._programs.detach(name)
        while self._ring.pending:
            yield from self._ring.read()
        yield from self._ring.rest()


_Source = _Ring | ConnectorEvents


def _follow(sources: list[_Source], stop: threading.Event) -> Iterator[Happening]:
    first, last = sources[0], sources[-1]
    read = _merge(first, last) if isinstance(first, _Ring) and isinstance(last, ConnectorEvents) else first.read
    pause = last.wait if isinstance(last, ConnectorEvents) else stop.wait
    while not stop.is_set():
        anything = False
        for happening in read():
            anything = True
            yield happening
        if not anything:
            pause(PAUSE_S)
    for source in sources:
        yield from source.finish()


def _merge(ring: "_Ring", connector: ConnectorEvents) -> Callable[[], Iterator[Happening]]:
    """Both in order of time, look by look. Who did what the connector tells of the ring knows best, if it is read later
    than that was taken."""

    def read() -> Iterator[Happening]:
        taken = connector.take()
        return iter(sorted([*ring.read(), *connector.read(taken)], key=attrgetter("at_ns")))

    return read


def _attach(programs: Programs, names: tuple[str, ...], request: EventRequest, tally: Tally) -> tuple[str, ...]:
    """Attaches programs; one that only a further kind needs may fail, and the answer says so."""
    attached = []
    for name in names:
        try:
            programs.attach(name)
        except Unsupported as failed:
            if name not in ("on_module", "on_state") or len(request.kinds) == 1:
                raise
            tally.note(str(failed))
            tally.hidden = "some kinds of events cannot be watched"
        else:
            attached.append(name)
    if request.capabilities:
        tally.note(POWERS_COST)
    return tuple(attached)


def check(request: EventRequest) -> None:
    """Raises `UsageError` for kinds and methods that there are not."""
    check_request(request, KINDS, METHODS)
    size = request.buffer_bytes
    if size is not None and (size < 4096 or size & (size - 1)):
        raise UsageError(f"a buffer cannot have {size} bytes", "a power of two, from 4096 on")
