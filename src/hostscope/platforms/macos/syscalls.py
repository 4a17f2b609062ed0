"""System calls of processes. macOS: not built yet."""

import threading
from collections.abc import Iterator

from hostscope.model.event import Event
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.macos.translate import not_built
from hostscope.platforms.tally import Tally


class Syscalls:
    """Answers `Unsupported` for now."""

    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise not_built("watching system calls")
