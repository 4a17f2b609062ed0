"""What happens to processes: Endpoint Security's events, else the kernel's notes of processes that are watched."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain

from hostscope.errors import Denied, Unsupported, UsageError
from hostscope.model.event import KINDS, Event, EventRequest
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.event_stream import check_request
from hostscope.platforms.macos import endpoint_events, process_notes
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.endpoint_events import EndpointEvents
from hostscope.platforms.macos.parse_eslogger import NAMES
from hostscope.platforms.macos.process_list import read_processes
from hostscope.platforms.macos.process_notes import ProcessNotes
from hostscope.platforms.macos.raised import raised
from hostscope.platforms.tally import Tally

METHODS = ("eslogger", "kqueue")
"""Best first."""
BootOf = Callable[[], Boot]


class Events:
    """Implements `hostscope.platforms.base.Events`."""

    def __init__(
        self, boot: BootOf, eslogger: str = endpoint_events.ESLOGGER, privileges: Privileges | None = None
    ) -> None:
        self._boot, self._eslogger, self._privileges = boot, eslogger, privileges

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Events in order until `stop`, the first says what the stream covers; losses stand where they happened.

        Needs: root and Full Disk Access for ``eslogger`` (macOS 13); nothing for ``kqueue``.

        Raises:
            UsageError: `request` names no kind or method of this system.
            Denied, Unsupported: the named method cannot be used here, or without a name none can.
        """
        check(request)
        events = self._stream(request, stop, tally)
        return chain((next(events),), events)

    def _stream(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        methods = {"eslogger": self._by_endpoint, "kqueue": self._by_notes}
        wanted = (request.method,) if request.method else METHODS
        for place, method in enumerate(wanted):
            tally.method = method
            try:
                stream = methods[method](request, stop, tally)
                first = next(stream)
            except (Denied, Unsupported) as failed:
                if place == len(wanted) - 1:
                    raise
                hint = f" ({failed.hint})" if failed.hint else ""
                tally.method_reason = f"{method} cannot be used: {failed}{hint}"
                continue
            yield first
            yield from stream
            return

    def _by_endpoint(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        names = [name for kind in sorted(request.kinds) for name in NAMES.get(kind, ())]
        if missing := sorted(kind for kind in request.kinds if kind not in NAMES):
            if not names:
                raise Unsupported(f"Endpoint Security does not tell of {', '.join(missing)}")
            tally.note(f"Endpoint Security does not tell of {', '.join(missing)}")
            tally.hidden = "some kinds of events cannot be watched"
        with raised(self._privileges, "watch events of Endpoint Security"):
            opened = EndpointEvents(names, self._eslogger)
        with closing(opened) as source:
            tally.effects.append(f"a client of Endpoint Security ({self._eslogger})")
            tally.note(endpoint_events.LIMITS)
            yield from endpoint_events.stream(source, self._boot().boot_id, stop, tally)

    def _by_notes(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        if missing := sorted(request.kinds - process_notes.KINDS):
            raise Unsupported(f"kqueue does not tell of {', '.join(missing)}", "only eslogger does, which needs root")
        with raised(self._privileges, "watch processes"):
            opened = ProcessNotes(self._boot(), read_processes, request.kinds)
        with closing(opened) as source:
            tally.note(process_notes.MISSES)
            if source.refused:
                tally.denied += source.refused
            yield from process_notes.stream(source, stop, tally)


def check(request: EventRequest) -> None:
    """Raises `UsageError` for kinds and methods that there are not."""
    check_request(request, KINDS, METHODS)
    if request.capabilities:
        raise UsageError("macOS has no capabilities", "leave --capabilities out")
