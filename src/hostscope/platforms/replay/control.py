"""Acting on recorded processes: never."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

from hostscope.errors import Unsupported
from hostscope.model.container import Container
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.process import Process
from hostscope.model.response import Identity
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.base_control import Snapshot, Spawned
from hostscope.platforms.tally import Tally


class Control:
    """Implements `hostscope.platforms.base_control.Control`: what is recorded cannot be changed."""

    def pin(self, key: ProcessKey) -> ProcessKey:
        raise _past(key)

    def identify(self, process: Process) -> Identity:
        raise _past(process.key)

    def terminate(self, key: ProcessKey, force: bool) -> None:
        raise _past(key)

    def suspend(self, key: ProcessKey) -> None:
        raise _past(key)

    def resume(self, key: ProcessKey) -> None:
        raise _past(key)

    def wait(self, key: ProcessKey, timeout_s: float) -> bool:
        raise _past(key)

    def terminate_container(self, member: ProcessKey, container: Container) -> bool:
        raise _past(member)

    def freeze(self, key: ProcessKey) -> AbstractContextManager[tuple[ThreadState, ...]]:
        raise _past(key)

    def registers(self, key: ProcessKey) -> tuple[ThreadState, ...]:
        raise _past(key)

    def snapshot(self, key: ProcessKey) -> AbstractContextManager[Snapshot]:
        raise _past(key)

    def write_dump(self, key: ProcessKey, fd: int) -> None:
        raise _past(key)

    def spawn(self, argv: tuple[str, ...]) -> AbstractContextManager[Spawned]:
        raise Unsupported("nothing can be started in a recording", "leave out --replay")

    def trace(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise Unsupported("a recording cannot be traced", "leave out --replay")


def _past(key: ProcessKey) -> Unsupported:
    return Unsupported(f"process {key.pid} is in a recording and cannot be acted on", "leave out --replay")
