"""Threads whose reads may never come back: a page that a userfaultfd handler or a file server has to give.

The kernel lets only a fatal signal end such a wait, so a thread in it is given up and replaced. Its work goes on
without it: work is a generator that yields what to read and is suspended meanwhile, so that any thread can take it
further. The threads are daemons: the end of the program ends them, wherever they wait.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from hostscope.errors import Incomplete

Answer = TypeVar("Answer")

TURN_S = 0.2
PATIENCE_S = 5.0
"""For one read; 1 MiB from a slow disk takes less."""
TICKS = 20
"""In which patience is counted: ticks do not pass while another thread keeps Python's lock, or the machine sleeps."""


class Stalled:
    """What a read comes to that did not answer."""


STALLED: Final = Stalled()
Steps = Generator[Callable[[], Any], Any, Any]
"""Yields reads, gets what they return or `STALLED`, returns its result."""


def answer_of(future: "Future[Answer]") -> Answer:
    """What work came to, waited for in turns.

    CPython notices a signal that comes while it hands its lock on, just before it waits, when that wait is over.
    """
    while True:
        with suppress(TimeoutError):
            return future.result(TURN_S)
        if future.done():
            return future.result()


class _Task:
    """Work that goes on with `answer`."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.answer: Any = None
        self.future: Future[Any] = Future()


class _Hand:
    """A thread, and what it reads for."""

    task: _Task | None = None
    ticks = 0
    lost = False


class Hands:
    """So many threads that do work, each replaced when it stalls."""

    def __init__(self, threads: int, patience_s: float, begin: Callable[[], None]) -> None:
        self._begin = begin
        self.stop = threading.Event()
        self._patience_s = patience_s
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._hands: dict[_Hand, threading.Thread] = {}
        self._ended = threading.Event()
        for _ in range(threads):
            self._add()
        threading.Thread(target=self._watch, name="patience", daemon=True).start()

    def submit(self, steps: Steps) -> "Future[Any]":
        """Begins work; the future has what it returns or raises."""
        task = _Task(steps)
        self._queue.put(task)
        return task.future

    def abandon(self) -> None:
        """Ends work at once: `stop` is set, and who waits for a read waits no longer."""
        self.stop.set()
        with self._lock:
            for hand in list(self._hands):
                if hand.task:
                    self._lose(hand).future.set_exception(Incomplete("interrupted"))
                    self._add()

    def close(self) -> None:
        """Ends the threads. Raises nothing."""
        self._ended.set()
        with self._lock:
            threads = list(self._hands.values())
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join(self._patience_s)

    def _add(self) -> None:
        hand = _Hand()
        self._hands[hand] = threading.Thread(target=partial(self._work, hand), name="reader", daemon=True)
        self._hands[hand].start()

    def _work(self, hand: _Hand) -> None:
        self._begin()
        while (task := self._queue.get()) is not None:
            if task.future.running() or task.future.set_running_or_notify_cancel():
                self._drive(hand, task)
            if hand.lost:
                return

    def _drive(self, hand: _Hand, task: _Task) -> None:
        """Takes work to its end, unless a read of it stalls."""
        try:
            while True:
                wanted = task.steps.send(task.answer)
                answer, failed = self._read(hand, task, wanted)
                if hand.lost:
                    return
                if failed:
                    raise failed
                task.answer = answer
        except StopIteration as ended:
            task.future.set_result(ended.value)
        except BaseException as raised:  # handed to the thread that asked
            task.future.set_exception(raised)

    def _read(self, hand: _Hand, task: _Task, wanted: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        hand.ticks, hand.task = 0, task
        try:
            return wanted(), None
        except BaseException as failed:  # ends the work, unless that went on without us
            return None, failed
        finally:
            with self._lock:
                hand.task = None

    def _watch(self) -> None:
        while not self._ended.wait(self._patience_s / TICKS):
            with self._lock:
                for hand in [hand for hand in self._hands if hand.task]:
                    hand.ticks += 1
                    if hand.ticks > TICKS:
                        task = self._lose(hand)
                        task.answer = STALLED
                        self._add()
                        self._queue.put(task)

    def _lose(self, hand: _Hand) -> _Task:
        """Gives a thread up; what it worked at. The lock is held, and it is in a read."""
        task, hand.task, hand.lost = hand.task, None, True
        del self._hands[hand]
        if task is None:
            raise ValueError("not in a read")
        return task


@contextmanager
def open_hands(threads: int, begin: Callable[[], None], patience_s: float | None = None) -> Iterator[Hands]:
    """Threads for one run. Whatever is raised inside the block ends their work at once.

    Args:
        begin: what each thread does first, such as `platforms.base_memory.Memory.give_way`.
    """
    hands = Hands(threads, PATIENCE_S if patience_s is None else patience_s, begin)
    try:
        yield hands
    except BaseException:
        hands.abandon()
        raise
    finally:
        hands.close()
