"""System calls of processes. Windows: not built yet."""

import threading
from collections.abc import Iterator

from hostscope.model.event import Event
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.translate import not_built


class Syscalls:
    """Answers `Unsupported` for now."""

    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise not_built("watching system calls")
