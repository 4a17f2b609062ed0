"""Signals as requests: a stream that writes a file is ended between two writes, not inside one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Ended:
    """Which exit code a signal asked for; 0 when none came."""

    code = 0


@contextmanager
def ending(stop: threading.Event, told: threading.Event | None = None) -> Iterator[Ended]:
    """Until the block ends, SIGINT and SIGTERM set `stop`, and SIGUSR1, where there is one, sets `told`.

    A second SIGINT or SIGTERM ends the program as usual, whatever it is doing. A SIGINT that was ignored stays so.
    """
    ended, before = Ended(), dict[int, Any]()

    def end(number: int, frame: FrameType | None) -> None:
        ended.code = ENDING[signal.Signals(number)]
        for one in ENDING:
            signal.signal(one, before.get(one, signal.SIG_DFL))
        stop.set()

    def tell(number: int, frame: FrameType | None) -> None:
        if told is not None:
            told.set()

    for one in ENDING:
        if signal.getsignal(one) is not signal.SIG_IGN:
            before[one] = signal.signal(one, end)
    telling: int | None = getattr(signal, "SIGUSR1", None)
    if told is not None and telling is not None:
        before[telling] = signal.signal(telling, tell)
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
