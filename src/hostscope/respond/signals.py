"""Signals to many processes, each with what came of it."""

import time
from collections.abc import Callable, Iterable

from hostscope.errors import Denied, Gone, Mismatch, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.model.request import ProcessRequest
from hostscope.model.response import Outcome
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.respond.guard import Subject

KILL_WAIT_S = 2.0
"""What has not ended so long after SIGKILL sleeps uninterruptibly."""
STOP_WAIT_S = 1.0
BETWEEN_S = 0.005
HALTED = frozenset({"stopped", "tracing-stop"})
ENDED = frozenset({"zombie", "dead"})
UNKNOWN = "unknown"
"""Of a process that is there, and whose state the system does not tell."""
SLEEPING = "in uninterruptible sleep (disk-sleep): the signal takes effect when it wakes"


def state_of(host: Host, control: Control, key: ProcessKey, state: str | None) -> str | None:
    """What a process does whose row has this state.

    One whose first thread has ended looks like a zombie while the others run on: then it is what they do, and what
    has not stopped yet speaks for all.
    """
    if state not in ENDED or control.wait(key, 0):
        return state
    try:
        threads = host.processes.detail(key, frozenset({"threads"})).threads or ()
    except (Gone, Mismatch):
        return None
    living = [thread.state for thread in threads if thread.state not in ENDED]
    return next((running for running in living if running not in HALTED), living[0] if living else state)


class Volley:
    """One act on many processes: what was sent, who failed, and the outcomes in the end."""

    def __init__(self, host: Host, control: Control) -> None:
        self._host, self._control = host, control
        self._began_ns: dict[ProcessKey, int] = {}
        self._outcomes: dict[ProcessKey, Outcome] = {}
        self.subjects: dict[ProcessKey, Subject] = {}
        """Of the outcomes."""
        self.unasked: dict[ProcessKey, str] = {}
        """Why nothing could be sent to some, who have no outcome yet: the system has no such thing."""

    @property
    def outcomes(self) -> dict[ProcessKey, Outcome]:
        """By pinned key, in the order in which they became known."""
        return self._outcomes

    def was_sent(self, key: ProcessKey) -> bool:
        """Whether anything was sent to this process."""
        return key in self._began_ns

    def send(self, subjects: Iterable[Subject], signal: Callable[[ProcessKey], None]) -> list[Subject]:
        """Sends to each that has no outcome yet; those that took it. Failures become outcomes."""
        return [
            subject for subject in subjects if subject.process.key not in self._outcomes and self._sent(subject, signal)
        ]

    def _sent(self, subject: Subject, signal: Callable[[ProcessKey], None]) -> bool:
        key = subject.process.key
        again = key in self._began_ns
        self._began_ns.setdefault(key, time.monotonic_ns())
        try:
            signal(key)
        except Gone:
            self.tell(subject, "done", after="ended") if again else self.tell(
                subject, "gone", "it had ended before", "ended"
            )
        except Mismatch as failed:
            self.tell(subject, "mismatch", failed.message)
        except Unsupported as failed:
            self.unasked[key] = failed.message
            return False
        except Denied as failed:
            self.tell(subject, "denied", f"{failed.message}; {failed.hint}" if failed.hint else failed.message)
        return key not in self._outcomes

    def tell(self, subject: Subject, result: str, detail: str | None = None, after: str | None = None) -> None:
        """Records what came of one; the first word stands."""
        key = subject.process.key
        began_ns = self._began_ns.get(key)
        elapsed_ns = time.monotonic_ns() - began_ns if began_ns is not None else 0
        outcome = Outcome(key, subject.process.name, result, detail, subject.process.state, after, elapsed_ns)
        self._outcomes.setdefault(key, outcome)
        self.subjects.setdefault(key, subject)

    def collect(self, subjects: list[Subject], timeout_s: float) -> list[Subject]:
        """Those that have not ended when the time is up; the others are done."""
        deadline, left = time.monotonic() + timeout_s, []
        for subject in subjects:
            if self._control.wait(subject.process.key, max(0.0, deadline - time.monotonic())):
                self.tell(subject, "done", after="ended")
            else:
                left.append(subject)
        return left

    def survivors(self, subjects: list[Subject], words: str) -> None:
        """Says of each that it is still there, and why as far as its state tells."""
        for subject in subjects:
            state = self.state(subject)
            why = self.unasked.get(subject.process.key, words)
            self.tell(subject, "survived", SLEEPING if state == "disk-sleep" else why, state)

    def state(self, subject: Subject) -> str | None:
        """The process's state now; None when it is gone."""
        key = subject.process.key
        try:
            now = self._host.processes.read(key.pid, ProcessRequest(fields=frozenset({"state"})))
        except (Gone, Denied):
            return None
        if not now.key.same(key):
            return None
        if now.state is None and not self._control.wait(key, 0):
            return UNKNOWN
        return state_of(self._host, self._control, key, now.state)

    def await_state(self, subject: Subject, reached: Callable[[str | None], bool]) -> str | None:
        """The state as soon as it is reached, or whatever it is after a second."""
        deadline = time.monotonic() + STOP_WAIT_S
        while not reached(state := self.state(subject)) and time.monotonic() < deadline:
            time.sleep(BETWEEN_S)
        return state
