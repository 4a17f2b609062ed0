"""How a command's time comes to its end."""

import threading
from time import monotonic

from hostscope.cli.refresh import stopping


def test_the_time_comes_without_a_thread() -> None:
    before = threading.active_count()
    with stopping(0.05) as stop:
        assert threading.active_count() == before
        assert not stop.is_set()
        began = monotonic()
        assert stop.wait(10)
        assert monotonic() - began < 5
        assert stop.is_set()


def test_waiting_less_than_that_tells_that_time_is_left() -> None:
    with stopping(60) as stop:
        assert not stop.wait(0.001)
        stop.set()
        assert stop.wait() and stop.is_set()


def test_without_a_duration_only_somebody_ends_it() -> None:
    with stopping(None) as stop:
        assert not stop.wait(0.001)
    assert stop.is_set()
