"""Signals that end live commands."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from hostscope.cli.endings import ending
from hostscope.cli.refresh import stopping


class Asked(Exception):
    """What a handler raises."""


class Finalised:
    """Raises a signal while Python runs its finaliser, where nothing that is raised gets out."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def ask(number: int, frame: object) -> None:
    raise Asked


@pytest.fixture
def asking() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, ask)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("asking")
def test_a_signal_that_is_lost_in_a_finaliser_ends_a_watch() -> None:
    with stopping(None) as stop:
        thing = Finalised()
        del thing
        assert stop.wait(60)


@pytest.mark.usefixtures("asking")
def test_handlers_still_raise_and_come_back() -> None:
    with pytest.raises(Asked), stopping(None):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is ask


def test_a_signal_that_comes_while_the_event_is_locked_ends_the_waiting() -> None:
    """As it is for a moment when waiting for it begins and ends; handlers run in the thread that waits."""
    stop = threading.Event()
    with ending(stop) as ended:
        with stop._cond:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGTERM)
        assert stop.wait(60) and ended.code == 143


@pytest.mark.usefixtures("asking")
def test_so_does_one_that_raises() -> None:
    with stopping(None) as stop:
        with pytest.raises(Asked), stop._cond:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGTERM)
        assert stop.wait(60)


@pytest.mark.posix("SIGUSR1")
def test_so_does_the_wish_to_be_told_how_far_it_is() -> None:
    told = threading.Event()
    with ending(threading.Event(), told):
        with told._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGUSR1)
        assert told.wait(60)


def test_where_no_thread_is_to_be_had_it_is_set_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refused)
    stop = threading.Event()
    with ending(stop):
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
