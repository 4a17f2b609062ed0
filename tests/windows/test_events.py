"""Events of real children: by the tracing session where there is one, else by looking twice."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hostscope.errors import UsageError
from hostscope.model.event import EventRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.host import open_host
from tests.windows.children import Child
from tests.windows.missing import unless_missing

WAITER = "say(ready=True); wait()"


@contextmanager
def watching(*options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`hostscope watch`, once it watches."""
    command = [sys.executable, "-m", "hostscope", "watch", "--format", "ndjson", "--duration", "300", *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout and b'"coverage"' in running.stdout.readline()
            yield running
        finally:
            running.kill()


def events(running: "subprocess.Popen[bytes]") -> Iterator[dict[str, Any]]:
    assert running.stdout
    for line in running.stdout:
        found = json.loads(line)
        if found["type"] == "event":
            yield found["event"]


def test_polling_sees_children_begin_and_end(child: Callable[..., Child]) -> None:
    with watching("--method", "polling", "--interval", "0.2") as running:
        one = child(WAITER)
        seen = events(running)
        begun = next(event for event in seen if (event["key"] or {}).get("pid") == one.pid)
        assert begun["body"]["type"] == "process" and begun["source"] == "polling"
        assert begun["body"]["before"] is None
        one.end()
        over = next(event for event in seen if (event["key"] or {}).get("pid") == one.pid)
        assert over["body"]["after"] is None and over["key"] == begun["key"]


def test_without_tracing_the_answer_says_so() -> None:
    with watching("--interval", "0.2") as running:
        assert running.poll() is None
    tally, stop = Tally(), threading.Event()
    with unless_missing():
        stream = open_host().events.watch(EventRequest(frozenset({"start"}), method="etw"), stop, tally)
        stop.set()
        assert next(stream).schema == "hostscope.coverage/1"


def test_what_windows_does_not_have_is_refused() -> None:
    watch = open_host().events.watch
    with pytest.raises(UsageError, match="credentials"):
        watch(EventRequest(frozenset({"credentials"})), threading.Event(), Tally())
    with pytest.raises(UsageError, match="ring-buffer"):
        watch(EventRequest(method="ring-buffer"), threading.Event(), Tally())
