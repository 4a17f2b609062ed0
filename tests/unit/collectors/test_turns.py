"""When to look again."""

import threading

from hostscope.collectors.turns import turns


def test_there_is_a_look_even_when_the_end_was_asked_for_before() -> None:
    stop = threading.Event()
    stop.set()
    assert len(list(turns(stop, 60))) == 1


def test_the_end_comes_behind_the_look_in_which_it_was_asked_for() -> None:
    stop, looks = threading.Event(), 0
    for _ in turns(stop, 0):
        looks += 1
        if looks == 3:
            stop.set()
    assert looks == 3
