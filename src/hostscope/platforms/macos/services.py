"""launchd's services: what is defined, and what launchctl says of it.

launchd has no public interface that lists jobs with their states, so launchctl is asked for the text that it writes for
people (`parse_launchctl`). Every record and event that comes of it says so.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec.structs import replace

from hostscope.errors import Denied, Gone, Unavailable, Unsupported
from hostscope.model.coverage import Coverage
from hostscope.model.event import SCHEMAS, Body, CoverageChange, Event, ServiceChange
from hostscope.model.gap import Gap, Reason
from hostscope.model.service import ServiceState
from hostscope.platforms.macos.launchd_jobs import Defined, read_jobs
from hostscope.platforms.macos.parse_launchctl import Domain, Job, parse_domain

LAUNCHCTL = "/bin/launchctl"
MANAGER = "launchd"
TIMEOUT_S = 10.0
MOST_BYTES = 16 << 20
SOURCE = "polling"
LABEL = "states are read from the text of launchctl print, which is no interface and may change with a release"
UNKNOWN = Gap("state", Reason.UNAVAILABLE, "launchctl does not name it: it is not loaded")
Ask = Callable[[str], bytes]
"""Domain -> what ``launchctl print`` writes of it."""


def ask_launchctl(domain: str) -> bytes:
    """What ``launchctl print`` writes.

    Raises:
        Denied, Unavailable, Unsupported
    """
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C"}
    try:
        done = subprocess.run(
            (LAUNCHCTL, "print", domain), stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S,
            env=environment, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise Unsupported(f"there is no {LAUNCHCTL}", "macOS has it") from None
    except PermissionError:
        raise Denied(f"{LAUNCHCTL} may not be run", "needs another user") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"launchctl did not answer in {TIMEOUT_S:.0f} s") from None
    if done.returncode:
        told = done.stderr[:200].decode("utf-8", "replace").strip()
        raise Unavailable(f"launchctl print {domain}: {told or f'exit code {done.returncode}'}")
    return done.stdout[:MOST_BYTES]


class Services:
    """Implements `hostscope.platforms.base.Services`."""

    def __init__(self, ask: Ask = ask_launchctl, read: Callable[[], Iterable[Defined]] = read_jobs) -> None:
        self._ask, self._read = ask, read

    def services(self) -> Iterator[ServiceState]:
        """Every job of the system's domain, and of ours as a user; then what is defined and not loaded.

        Raises:
            Denied, Unavailable, Unsupported: launchctl does not answer.
        """
        defined = {job.label: job for job in self._read()}
        loaded: set[str] = set()
        for user, domain in self._domains():
            for job in domain.jobs:
                loaded.add(job.label)
                yield state_of(job, defined.get(job.label), domain, user)
        for label in sorted(defined.keys() - loaded):
            yield _not_loaded(defined[label])

    def service(self, name: str) -> ServiceState:
        """One job by its label.

        Raises:
            Gone: no job has that label. Denied, Unavailable, Unsupported
        """
        for state in self.services():
            if state.name == name:
                return state
        raise Gone(f"there is no service {name}", "hostscope services lists all of them")

    def changes(self, stop: threading.Event, interval_s: float) -> Iterator[Event]:
        """What differs between two looks, until `stop`: launchd tells of no changes.

        Raises:
            Denied, Unavailable, Unsupported: with the first event.
        """
        before = self._states()
        seq = 0
        notes = (LABEL, "what starts and ends between two looks is missed")
        coverage = Coverage("polling", "launchd tells nobody of changes", len(before), len(before), notes=notes)
        yield _event(seq, CoverageChange(coverage))
        while not stop.wait(interval_s):
            after = self._states()
            for name in sorted(before.keys() | after.keys()):
                if before.get(name) != after.get(name):
                    seq += 1
                    yield _event(seq, ServiceChange(before.get(name), after.get(name)))
            before = after

    def _states(self) -> Mapping[str, ServiceState]:
        return {f"{state.user}:{state.name}": state for state in self.services()}

    def _domains(self) -> Iterator[tuple[int | None, Domain]]:
        """The system's domain has to answer; a user's may not exist."""
        yield None, parse_domain(self._ask("system"))
        if uid := os.getuid():
            try:
                yield uid, parse_domain(self._ask(f"gui/{uid}"))
            except Unavailable:
                return  # nobody is logged in at the screen


def state_of(job: Job, defined: Defined | None, domain: Domain, user: int | None) -> ServiceState:
    """A job that is loaded."""
    disabled = job.label in domain.disabled
    ended = None if job.status is None else _ended(job.status)
    return ServiceState(
        name=job.label,
        manager=MANAGER,
        type=defined.type if defined else None,
        description=defined.program if defined else None,
        state="active" if job.pid else "failed" if job.status else "inactive",
        substate="running" if job.pid else ended,
        start_mode="disabled" if disabled else defined.starts if defined else None,
        main_pid=job.pid,
        path=defined.path if defined else None,
        load="loaded",
        user=user,
    )


def _ended(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit {status}"


def _not_loaded(defined: Defined) -> ServiceState:
    found = state_of(Job(defined.label, None, None), defined, Domain((), frozenset()), None)
    mode = "disabled" if defined.disabled else found.start_mode
    return replace(found, state=None, substate=None, load="not-loaded", start_mode=mode, gaps=(UNKNOWN,))


def _event(seq: int, body: Body) -> Event:
    return Event(SCHEMAS[type(body)], SOURCE, seq, time.time_ns(), time.monotonic_ns(), None, body)
