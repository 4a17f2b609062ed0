"""How a command's time comes to its end."""

import threading
from time import monotonic

from hostscope.cli.refresh import stopping


def test_the_time_comes_without_a_thread() -> None:
    before, began = set(threading.enumerate()), monotonic()
    with stopping(0.5) as stop:
        assert set(threading.enumerate()) <= before
        assert not stop.is_set() or monotonic() - began >= 0.5
        assert stop.wait(200)
        assert 0.5 <= monotonic() - began < 100
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
