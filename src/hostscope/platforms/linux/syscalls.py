"""System calls of processes. Linux: not built yet."""

import threading
from collections.abc import Iterator

from hostscope.errors import Unsupported
from hostscope.model.event import Event
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.tally import Tally


class Syscalls:
    """Answers `Unsupported` for now."""

    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise Unsupported("watching system calls is not built yet")
