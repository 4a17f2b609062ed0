"""When to look again."""

import threading
from collections.abc import Iterator
from time import monotonic


def turns(stop: threading.Event, interval_s: float) -> Iterator[None]:
    """At once, and again every so often until `stop` is set; at once too where a look took longer than that."""
    due = monotonic()
    while True:
        yield
        due = max(due + interval_s, monotonic())
        if stop.wait(due - monotonic()):
            return
