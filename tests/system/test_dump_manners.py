"""Who reads memory gives way to those whose it is."""

import os
import threading

import pytest

from hostscope.dumps.patience import Hands, Steps, open_hands
from hostscope.platforms.linux.memory import NICE, Memory

pytestmark = pytest.mark.system


def niceness(hands: Hands) -> int:
    """Of the thread that takes the work."""

    def steps() -> Steps:
        yield lambda: None
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    return int(hands.submit(steps()).result(10))


def test_threads_that_read_run_after_others_and_nobody_else_does() -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    with open_hands(1, Memory().give_way) as hands:
        assert niceness(hands) == max(NICE, ours)
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours


def test_who_gave_way_already_is_not_hurried() -> None:
    found: list[int] = []

    def work() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        Memory().give_way()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [15]
