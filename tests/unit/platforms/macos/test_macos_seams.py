"""What of macOS needs no kernel: its log, its console, and services that hostscope does not register."""

import syslog
from collections.abc import Callable
from typing import Any

import pytest

from hostscope.errors import Unsupported
from hostscope.platforms.macos.autostart import Autostart
from hostscope.platforms.macos.console import Console
from hostscope.platforms.macos.counters import Counters
from hostscope.platforms.macos.system import System

NOT_HERE: dict[str, Callable[[], Any]] = {
    "install": lambda: Autostart().install("x", ("ps",)),
    "act": lambda: Autostart().act("x", "start"),
    "serving": lambda: Console().serving("x"),
    "named": lambda: Counters().named(("x",), 1.0),
}


@pytest.mark.parametrize("name", NOT_HERE)
def test_what_there_is_not_says_why(name: str) -> None:
    with pytest.raises(Unsupported) as said:
        NOT_HERE[name]()
    assert said.value.message and said.value.hint


@pytest.mark.parametrize(
    ("severity", "priority"), [("info", syslog.LOG_INFO), ("warning", syslog.LOG_WARNING), ("error", syslog.LOG_ERR)]
)
def test_reports_go_to_the_log(monkeypatch: pytest.MonkeyPatch, severity: str, priority: int) -> None:
    said: list[Any] = []
    monkeypatch.setattr(syslog, "openlog", lambda *asked: said.append(asked))
    monkeypatch.setattr(syslog, "syslog", lambda *asked: said.append(asked))
    System().report(severity, "a\0b %s")
    assert said == [("hostscope", syslog.LOG_PID, syslog.LOG_DAEMON), (priority, "a\ufffdb %s")]


def test_a_console_needs_nothing() -> None:
    Console().prepare()
    with Console().listening(lambda event: True):
        pass
