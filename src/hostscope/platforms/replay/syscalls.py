"""System calls of processes. Not recorded."""

import threading
from collections.abc import Iterator

from hostscope.model.event import Event
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.replay.translate import not_recorded
from hostscope.platforms.tally import Tally


class Syscalls:
    """Implements `hostscope.platforms.base.Syscalls`: a recording does not hold it."""

    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise not_recorded("watching system calls")
