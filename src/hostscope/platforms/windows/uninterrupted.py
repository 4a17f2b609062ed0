"""Steps that a second Ctrl-C must not cut in two, because what they leave half done outlives us."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What the signals that end us would do happens after the block; only the main thread is ever interrupted."""
    came: list[int] = []
    ours = threading.current_thread() is threading.main_thread()
    before = {one: signal.getsignal(one) for one in ENDING if ours and callable(signal.getsignal(one))}
    for one in before:
        signal.signal(one, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for number in came[:1]:
            signal.raise_signal(number)
