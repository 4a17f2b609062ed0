"""Threads that hash: hashlib lets go of Python's lock for anything larger than 2 KiB, so they use all processors."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

MOST = 4
WORTHWHILE_BYTES = 1 << 20
"""Less than this is done at once: handing it over costs more."""


@cache
def start() -> ThreadPoolExecutor:
    """The threads, all of them begun.

    A thread begins with the privileges that are in effect for the one that starts it. Who raises some for a while
    starts these before: they then never have them.
    """
    count = min(MOST, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(count, thread_name_prefix="hostscope-hash")
    together = Barrier(count)
    for begun in [pool.submit(together.wait) for _ in range(count)]:
        begun.result()
    return pool


def hand_over(size: int, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> "Future[Result]":
    """The work's result, or what it raised, when it is asked for. `size` is how many bytes it hashes."""
    if size >= WORTHWHILE_BYTES:
        return start().submit(work, *given, **named)
    done: Future[Result] = Future()
    try:
        done.set_result(work(*given, **named))
    except Exception as failed:  # raised again where the result is asked for
        done.set_exception(failed)
    return done
