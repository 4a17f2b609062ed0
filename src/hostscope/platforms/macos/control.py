"""One operating system, to act on. Only `hostscope.respond` may import it. macOS: not built yet."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

from hostscope.model.container import Container
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.process import Process
from hostscope.model.response import Identity
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.base import Spawned
from hostscope.platforms.macos.translate import not_built
from hostscope.platforms.tally import Tally


class Control:
    """Answers `Unsupported` for now."""

    def pin(self, key: ProcessKey) -> ProcessKey:
        raise not_built("acting on processes")

    def identify(self, process: Process) -> Identity:
        raise not_built("acting on processes")

    def terminate(self, key: ProcessKey, force: bool) -> None:
        raise not_built("terminating processes")

    def suspend(self, key: ProcessKey) -> None:
        raise not_built("suspending processes")

    def resume(self, key: ProcessKey) -> None:
        raise not_built("resuming processes")

    def wait(self, key: ProcessKey, timeout_s: float) -> bool:
        raise not_built("waiting for processes")

    def terminate_container(self, member: ProcessKey, container: Container) -> bool:
        raise not_built("terminating containers")

    def freeze(self, key: ProcessKey) -> AbstractContextManager[tuple[ThreadState, ...]]:
        raise not_built("freezing processes")

    def registers(self, key: ProcessKey) -> tuple[ThreadState, ...]:
        raise not_built("reading registers")

    def spawn(self, argv: tuple[str, ...]) -> AbstractContextManager[Spawned]:
        raise not_built("starting programs")

    def trace(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise not_built("tracing system calls")
