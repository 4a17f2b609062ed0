"""One operating system, to act on. Only `hostscope.respond` may import it. Linux: not built yet."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

from hostscope.errors import Unsupported
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.tally import Tally


def _not_built() -> Unsupported:
    return Unsupported("acting on processes is not built yet")


class Control:
    """Answers `Unsupported` for now."""

    def terminate(self, key: ProcessKey, force: bool) -> None:
        raise _not_built()

    def suspend(self, key: ProcessKey) -> None:
        raise _not_built()

    def resume(self, key: ProcessKey) -> None:
        raise _not_built()

    def freeze(self, key: ProcessKey) -> AbstractContextManager[tuple[ThreadState, ...]]:
        raise _not_built()

    def registers(self, key: ProcessKey) -> tuple[ThreadState, ...]:
        raise _not_built()

    def trace(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise _not_built()
