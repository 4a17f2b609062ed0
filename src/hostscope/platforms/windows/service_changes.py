"""State changes of services, one event each: by the manager's notices, or by comparing lists."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

from msgspec.structs import replace

from hostscope.errors import Unsupported
from hostscope.model.coverage import Coverage
from hostscope.model.event import SCHEMAS, Body, CoverageChange, Event, Loss, ServiceChange
from hostscope.model.service import ScmEntry, ServiceState
from hostscope.platforms.windows.native import services as native
from hostscope.platforms.windows.parse_services import Status, parse_status
from hostscope.platforms.windows.services import active_word, exit_code, list_all, state_of, translated

WAIT_MS = 200
"""How long a set `stop` may go unnoticed."""
RELIST_S = 30.0
"""Between two looks for services that are new or gone, while notices tell of the others' states."""
ANY_STATE = (
    native.SERVICE_NOTIFY_STOPPED
    | native.SERVICE_NOTIFY_START_PENDING
    | native.SERVICE_NOTIFY_STOP_PENDING
    | native.SERVICE_NOTIFY_RUNNING
    | native.SERVICE_NOTIFY_CONTINUE_PENDING
    | native.SERVICE_NOTIFY_PAUSE_PENDING
    | native.SERVICE_NOTIFY_PAUSED
    | native.SERVICE_NOTIFY_DELETE_PENDING
)
NOTICES, POLLING = "scm", "polling"
States = dict[str, ServiceState]


class ServiceChanges:
    """One stream. It keeps the last state of each service."""

    def __init__(self, stop: threading.Event, interval_s: float) -> None:
        self._stop = stop
        self._interval_s = interval_s
        self._seq = 0
        self._known: States = {}

    def events(self) -> Iterator[Event]:
        """Until `stop`: notices where the manager gives them, else polling; the first event says which, and why.

        Raises:
            Denied, NativeError, Unavailable
        """
        with translated(), native.opened_manager() as manager:
            self._known = read_states(manager)
            with ExitStack() as closing:
                try:
                    watched = Watched(manager, closing, self._known)
                except (OSError, Unsupported) as refused:
                    closing.close()
                    yield self._way(POLLING, f"the service control manager gives no notices: {refused}")
                    yield from self._poll(manager)
                    return
                yield self._way(NOTICES, None)
                yield from self._listen(manager, watched)

    def _listen(self, manager: int, watched: "Watched") -> Iterator[Event]:
        relist = time.monotonic() + RELIST_S
        while not self._stop.is_set():
            native.sleep_alertable(WAIT_MS)
            for name, status in watched.changed():
                if name in self._known:
                    yield from self._now(name, with_status(self._known[name], status))
            for name in watched.lagging():
                yield self._event(Loss(1, f"changes of {name} came faster than they were taken"), NOTICES)
            if time.monotonic() >= relist:
                yield from self._compare(read_states(manager), NOTICES)
                watched.follow(self._known)
                relist = time.monotonic() + RELIST_S

    def _poll(self, manager: int) -> Iterator[Event]:
        while not self._stop.wait(self._interval_s):
            yield from self._compare(read_states(manager), POLLING)

    def _compare(self, found: States, source: str) -> Iterator[Event]:
        for name in sorted(self._known.keys() | found.keys()):
            before, after = self._known.get(name), found.get(name)
            if before != after:
                yield self._event(ServiceChange(before, after), source)
        self._known = found

    def _now(self, name: str, after: ServiceState) -> Iterator[Event]:
        before, self._known[name] = self._known[name], after
        if before != after:
            yield self._event(ServiceChange(before, after), NOTICES)

    def _way(self, method: str, reason: str | None) -> Event:
        return self._event(CoverageChange(coverage_of(method, reason, len(self._known))), method)

    def _event(self, body: Body, source: str) -> Event:
        self._seq += 1
        return Event(SCHEMAS[type(body)], source, self._seq, time.time_ns(), time.monotonic_ns(), None, body)


class Watched:
    """Services whose next change we asked to be told of."""

    def __init__(self, manager: int, closing: ExitStack, known: States) -> None:
        """Asks for all of `known`; handles are closed with `closing`.

        Raises:
            OSError, Unsupported: the manager gives no notices.
        """
        self._manager, self._closing = manager, closing
        self._notices: dict[str, native.Notice] = {}
        self._lagging: list[str] = []
        self.follow(known)

    def follow(self, known: States) -> None:
        """Asks for those that are new, too; of those that may not be asked for, lists tell."""
        for name in known.keys() - self._notices.keys():
            try:
                self._ask(name)
            except OSError as refused:
                if getattr(refused, "winerror", None) not in PASSED_OVER:
                    raise

    def changed(self) -> Iterator[tuple[str, Status]]:
        """What was told since the last question; each is asked for again."""
        for name, notice in list(self._notices.items()):
            if notice.fired:
                yield name, parse_status(bytes(notice.status))
                self._again(name, notice)

    def lagging(self) -> list[str]:
        """Services of which changes were missed."""
        missed, self._lagging = self._lagging, []
        return missed

    def _ask(self, name: str) -> None:
        service = self._closing.enter_context(native.opened_service(self._manager, name, native.SERVICE_QUERY_STATUS))
        notice = native.Notice(service, ANY_STATE)
        notice.ask()
        self._notices[name] = notice

    def _again(self, name: str, notice: native.Notice) -> None:
        try:
            notice.ask()
        except OSError as refused:
            del self._notices[name]  # `follow` opens it anew, if it is still there
            if getattr(refused, "winerror", None) == native.ERROR_SERVICE_NOTIFY_CLIENT_LAGGING:
                self._lagging.append(name)


PASSED_OVER = frozenset({5, native.ERROR_SERVICE_DOES_NOT_EXIST, native.ERROR_SERVICE_MARKED_FOR_DELETE})
"""Refused to us, or gone by now."""


def read_states(manager: int) -> States:
    """Every service without its configuration, by name. Raises OSError, ValueError."""
    return {listed.name: state_of(listed) for listed in list_all(manager, native.SERVICE_WIN32)}


def with_status(state: ServiceState, status: Status) -> ServiceState:
    """The same service in another state."""
    return replace(
        state,
        state=active_word(status),
        substate=status.state,
        main_pid=status.pid,
        scm=ScmEntry(status.kind, exit_code=exit_code(status)),
    )


def coverage_of(method: str, reason: str | None, rows: int) -> Coverage:
    """What the stream covers."""
    return Coverage(method=method, method_reason=reason, seen=rows, rows=rows)
