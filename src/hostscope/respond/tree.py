"""Stopping everything that belongs together before any of it can flee: top down, until a look finds nothing new.

A process that is stopped cannot fork. One that was told to stop may still finish the fork it was in, and a sweep takes
its rows one after the other, so one look without anything new proves nothing: it takes two in a row, the first of
which saw everybody stopped. A process that forks and ends between two looks hands its child to PID 1, and nobody can
tell whose it was; where that matters, a container's control group knows.
"""

import time
from contextlib import suppress

from hostscope.errors import Denied, Gone, Mismatch, Refused
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.response import ActRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.respond.guard import Subject, judge, stands
from hostscope.respond.plan import STOPPED
from hostscope.respond.scene import Scene
from hostscope.respond.signals import ENDED, HALTED, state_of
from hostscope.respond.subjects import Members, load, sweep

MOST_ROUNDS = 200
MOST_MEMBERS = 20_000
STILL = HALTED | ENDED
SLEEP_S = 1.0
"""What sleeps uninterruptibly is waited for so long; it takes the signal before it can do anything else."""
BETWEEN_S = 0.002


class Gathering:
    """Everything that belongs to an act, stopped as it is found.

    Attributes:
        subjects: by pinned key, parents first.
        stopped: keys that we stopped and that ran before.
        failed: those that could not be stopped, and why.
        complete: whether nothing was left when it ended.
        growing: whether the last look found something new.
    """

    def __init__(self, host: Host, control: Control, request: ActRequest, scene: Scene, members: Members) -> None:
        self._host, self._control, self._request, self._scene = host, control, request, scene
        self._members = members
        self.subjects: dict[ProcessKey, Subject] = {}
        self.stopped: list[ProcessKey] = []
        self.failed: dict[ProcessKey, Exception] = {}
        self.complete = self.growing = False

    def gather(self, subjects: list[Subject]) -> None:
        """Stops these, and then what belongs to them, until nothing new turns up.

        Raises:
            Refused: the guard speaks against one that turned up since it judged the plan; `release` is the caller's.
        """
        for subject in subjects:
            self._admit(subject)
        self.complete = self._settle()

    def release(self) -> int:
        """Lets everything run again that we stopped, children first; how many there were."""
        count = len(self.stopped)
        while self.stopped:
            with suppress(Gone, Mismatch, Denied):
                self._control.resume(self.stopped[-1])
            self.stopped.pop()
        return count

    def _settle(self) -> bool:
        quiet, began_s = False, time.monotonic()
        for _ in range(MOST_ROUNDS):
            rows = sweep(self._host)
            found = self._new(rows)
            self.growing = bool(found)
            for subject in load(self._host, self._control, found):
                self._admit(subject)
            if len(self.subjects) > MOST_MEMBERS:
                return False
            if quiet and not found:
                return True
            quiet = not found and self._are_still(rows, time.monotonic() - began_s > SLEEP_S)
            if not found and not quiet:
                time.sleep(BETWEEN_S)
        return False

    def _new(self, rows: list[Process]) -> dict[ProcessKey, int]:
        known = {key.pid: key for key in self.subjects}
        members = self._members(rows, self.subjects)
        return {key: depth for key, depth in members.items() if key.pid not in known or not known[key.pid].same(key)}

    def _admit(self, subject: Subject) -> None:
        refusal = stands(judge(subject, self._scene, self._request))
        if refusal:
            key = subject.process.key
            raise Refused(f"process {key} turned up: {refusal.facts}", refusal.rule, refusal.hint)
        self._stop(subject)

    def _stop(self, subject: Subject) -> None:
        key = subject.process.key
        self.subjects[key] = subject
        if subject.identity.ended or subject.process.state == STOPPED:
            return  # what a tracer holds is told to stop, too: the tracer may let it run
        self.stopped.append(key)  # first: an interrupt may come as soon as it has stopped
        try:
            self._control.suspend(key)
        except (Gone, Mismatch, Denied) as failed:
            self.stopped.pop()
            if not isinstance(failed, Gone):  # it ended; its row shows that
                self.failed[key] = failed

    def _are_still(self, rows: list[Process], late: bool) -> bool:
        known = {key.pid: key for key in self.subjects if key not in self.failed}
        ours = [row for row in rows if row.key.pid in known and known[row.key.pid].same(row.key)]
        still = STILL | {"disk-sleep"} if late else STILL
        return all(self._is_still(row, known[row.key.pid], still) for row in ours)

    def _is_still(self, row: Process, key: ProcessKey, still: frozenset[str]) -> bool:
        """Where the system tells no states, that it took our telling has to do."""
        return (row.state is None and key in self.stopped) or self._state(row, key) in still

    def _state(self, row: Process, key: ProcessKey) -> str | None:
        return state_of(self._host, self._control, key, row.state)
