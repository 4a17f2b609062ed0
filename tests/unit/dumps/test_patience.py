"""Waiting for what may not come."""

import signal
import threading
from concurrent.futures import Future

import pytest

from hostscope.dumps.patience import answer_of


@pytest.mark.posix("signals of threads")
def test_a_signal_that_does_not_wake_who_waits_is_noticed_all_the_same() -> None:
    """One that another thread takes, as one that comes before the wait begins, interrupts no wait."""
    taken = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        taken.start()
        answer_of(Future[int]())
    taken.join()


def test_work_that_timed_out_is_no_turn_that_ended() -> None:
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("the server does not answer"))
    with pytest.raises(TimeoutError, match="does not answer"):
        answer_of(failed)
