"""The console: what it shows, and its events, which are not signals.

Source: SetConsoleCtrlHandler; console modes and virtual terminal sequences (Windows 10 1511).

Python turns Ctrl-C and Ctrl-Break into signals, but its main thread does not notice them while it waits for a lock, as
live commands do between two looks; and the other events end the program without a word. So we take all of them, in the
thread that Windows makes for each: it can set what the main thread waits for.
"""

import atexit
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hostscope.errors import Unsupported, UsageError
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.native import console, paths
from hostscope.platforms.windows.native.console import (
    CTRL_BREAK_EVENT,
    CTRL_C_EVENT,
    CTRL_CLOSE_EVENT,
    CTRL_LOGOFF_EVENT,
    CTRL_SHUTDOWN_EVENT,
    ENABLE_PROCESSED_OUTPUT,
    ENABLE_VIRTUAL_TERMINAL_PROCESSING,
    STD_ERROR_HANDLE,
    STD_OUTPUT_HANDLE,
)
from hostscope.platforms.windows.native.service_program import ServiceProgram

EVENTS = {
    CTRL_C_EVENT: "interrupt",
    CTRL_BREAK_EVENT: "break",
    CTRL_CLOSE_EVENT: "close",
    CTRL_LOGOFF_EVENT: "logoff",
    CTRL_SHUTDOWN_EVENT: "shutdown",
}
ERROR_FAILED_SERVICE_CONTROLLER_CONNECT = 1063
GRACE_S = 4.5
"""Windows ends the program when the handler of one of the last three returns, or after 5 s."""
_listeners: list[Callable[[str], bool]] = []
_waiting: list[str] = []
"""Events of a service that came before anybody listened."""


class Console:
    """The console that this program was started on, if any."""

    def prepare(self) -> None:
        """Has text encoded as UTF-8, paths be long, and screens understand sequences, which ends with the program."""
        if "PYTHONIOENCODING" not in os.environ:
            for stream in (sys.stdout, sys.stderr):
                if hasattr(stream, "reconfigure"):  # else there is none, or a test's own
                    stream.reconfigure(encoding="utf-8")
        with suppress(OSError, Unsupported):  # paths are as long as they were; the one that is too long says so
            paths.allow_long()
        for which in (STD_OUTPUT_HANDLE, STD_ERROR_HANDLE):
            _understand_sequences(which)

    @contextmanager
    def serving(self, name: str) -> Iterator[Callable[[int], None]]:
        """The block is the service of that name; the manager's wish that it stop comes as the event ``shutdown``.

        Raises:
            UsageError: the service control manager did not start this program.
            NativeError
        """
        program = ServiceProgram(name, lambda _: deliver("shutdown"))
        try:
            program.begin()
        except OSError as failed:
            if getattr(failed, "winerror", None) == ERROR_FAILED_SERVICE_CONTROLLER_CONNECT:
                hint = "`hostscope service start NAME` has the service control manager start it"
                raise UsageError("only the service control manager runs this", hint) from None
            raise translate.error("StartServiceCtrlDispatcherW", failed) from failed
        codes = [1]
        try:
            yield codes.append
        finally:
            program.end(codes[-1])

    @contextmanager
    def listening(self, take: Callable[[str], bool]) -> Iterator[None]:
        """Until the block ends, `take` is called with each event; it says whether nobody else need see it."""
        remove = console.add_handler(lambda event: _taken(take, EVENTS.get(event, "close")))
        _listeners.append(take)
        while _waiting:
            take(_waiting.pop())
        try:
            yield
        finally:
            _listeners.remove(take)
            remove()


def deliver(event: str) -> None:
    """Hands an event that did not come from the console to who listens, the last one first; else to who will."""
    if not any(take(event) for take in reversed(_listeners)):
        _waiting.append(event)


def _taken(take: Callable[[str], bool], event: str) -> bool:
    taken = take(event)
    if taken and event not in ("interrupt", "break"):
        time.sleep(GRACE_S)  # the main thread finishes meanwhile, and with it the program
    return taken


def _understand_sequences(which: int) -> None:
    before = console.screen_mode(which)
    wanted = ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING
    if before is None or before & wanted == wanted:
        return
    if console.set_screen_mode(which, before | wanted):
        atexit.register(console.set_screen_mode, which, before)
    else:
        os.environ.setdefault("TERM", "dumb")  # an old console: no colours and no drawing
