"""Signals and console events as requests: a stream that writes a file is ended between two writes, not inside one."""

import _thread
import signal
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = {one: 128 + one for one in signal.Signals if one.name in ("SIGHUP", "SIGINT", "SIGTERM")}
"""Signals that end, of those that the system has, and the exit code of each."""


class Ended:
    """Which exit code a signal or event asked for; 0 when none came."""

    code = 0


def number_of(event: str) -> signal.Signals:
    """The signal that means what an event of the console means."""
    return signal.SIGINT if event in ("interrupt", "break") else signal.SIGTERM


def interrupt(event: str) -> bool:
    """Ends what is no stream as the signal would that means the same."""
    if event == "interrupt":
        return False  # Python makes a signal of it
    _thread.interrupt_main(number_of(event))
    return True


def _set(event: threading.Event) -> None:
    """Sets it for a handler of signals, from a thread of its own that ends at once.

    The main thread, in which handlers run, may hold the event's lock at that very moment, and would wait for itself.
    """
    try:
        _thread.start_new_thread(event.set, ())
    except RuntimeError:  # no thread is to be had
        event.set()


@contextmanager
def waking(stop: threading.Event) -> Iterator[None]:
    """Has who waits for `stop` notice console events, which do not end waiting as signals do."""
    from hostscope.session.console import open_console

    def take(event: str) -> bool:
        _thread.interrupt_main(number_of(event))
        stop.set()
        return True

    with open_console().listening(take), _also_setting(stop):
        yield


@contextmanager
def _also_setting(stop: threading.Event) -> Iterator[None]:
    """Has the signals that raise set `stop` first: what is raised while Python runs a finaliser is lost."""
    before = {one: signal.getsignal(one) for one in ENDING}

    def end(number: int, frame: FrameType | None) -> None:
        _set(stop)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    ours = threading.current_thread() is threading.main_thread()  # no other may set handlers
    taken = [one for one, handler in before.items() if ours and callable(handler)]
    for one in taken:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in taken:
            signal.signal(one, before[one])


@contextmanager
def ending(stop: threading.Event, told: threading.Event | None = None, but: Container[str] = ()) -> Iterator[Ended]:
    """Until the block ends, signals of `ENDING` and console events set `stop`, and SIGUSR1, if it is there, `told`.

    A second one of them ends the program as usual, whatever it is doing. One that was ignored stays so.

    Args:
        but: names of signals that end the program at once all the same.
    """
    from hostscope.session.console import open_console

    ended, before = Ended(), dict[int, Any]()

    def end(number: int, frame: FrameType | None) -> None:
        again, ended.code = ended.code, ENDING[signal.Signals(number)]
        for one in ENDING.keys() & before.keys():
            signal.signal(one, before[one])
        _set(stop)
        if again:  # the first one was an event of the console
            signal.raise_signal(number)

    def take(event: str) -> bool:
        if ended.code:  # the second one ends the program
            return interrupt(event)
        ended.code = ENDING[number_of(event)]
        stop.set()
        return True

    def tell(number: int, frame: FrameType | None) -> None:
        if told is not None:
            _set(told)

    for one in ENDING:
        if one.name not in but and signal.getsignal(one) is not signal.SIG_IGN:
            before[one] = signal.signal(one, end)
    telling: int | None = getattr(signal, "SIGUSR1", None)
    if told is not None and telling is not None:
        before[telling] = signal.signal(telling, tell)
    try:
        with open_console().listening(take):
            yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
