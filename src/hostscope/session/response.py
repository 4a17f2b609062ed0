"""The verbs of a session on this host that preserve, watch and act."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from hostscope.model.answer import Answer
from hostscope.platforms.tally import Tally
from hostscope.private import READ_FILES

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hostscope.audit import AuditTrail
    from hostscope.chain import Entry, Verification
    from hostscope.collectors.analysis import AnalysisRequest
    from hostscope.collectors.signatures import VerifyRequest
    from hostscope.model.dump import Dump, DumpAnalysis, DumpRequest, RuleMatch
    from hostscope.model.event import Event, EventRequest
    from hostscope.model.key import ProcessKey
    from hostscope.model.response import Act, ActRequest, Plan
    from hostscope.model.service import ServiceStep
    from hostscope.model.signature import Signature
    from hostscope.model.syscall import TraceRequest
    from hostscope.platforms.base import Host
    from hostscope.respond.trace import Trace
    from hostscope.session.exits import Exit


class ResponseVerbs:
    """Part of `LocalSession`: memory, events, system calls, acts."""

    _host: Host
    _exit: Exit

    def plan(self, request: ActRequest) -> Plan:
        """See `Session.plan`."""
        from hostscope.respond import local

        return local.plan(self._host, request)

    def apply(self, plan: Plan, confirmed: bool = False) -> Act:
        """See `Session.apply`."""
        from hostscope.respond import local

        return local.apply(self._host, plan, self._exit.inspection, confirmed)

    def install_service(self, name: str, arguments: tuple[str, ...]) -> str:
        """See `hostscope.respond.autostart.install`."""
        from hostscope.respond import autostart

        return autostart.install(self._host, name, arguments)

    def act_on_service(self, name: str, step: ServiceStep) -> None:
        """See `hostscope.respond.autostart.act`."""
        from hostscope.respond import autostart

        autostart.act(self._host, name, step)

    def report(self, severity: str, text: str) -> None:
        """Writes an entry to the host's own log (Windows: the event log; else syslog), for who asked for that.

        Args:
            severity: ``info warning error``.

        Raises:
            Denied, Unavailable, Unsupported
        """
        self._host.system.report(severity, text)

    def watch(
        self,
        request: EventRequest,
        stop: threading.Event,
        keys: frozenset[ProcessKey] = frozenset(),
        names: frozenset[str] = frozenset(),
    ) -> Answer[Event]:
        """What happens to processes until `stop` is set; of some, with `keys` or `names`, and of all that they start.

        Raises:
            UsageError: no such kind or method.
            Denied, Unsupported: the named method cannot be used here, or none can.
        """
        from hostscope.collectors import events
        from hostscope.session.event_exits import let_out

        answer = events.collect(self._host, request, stop, keys, names)
        return self._exit.answer(answer, partial(let_out, self._exit))

    def trace(self, request: TraceRequest, stop: threading.Event, command: tuple[str, ...] = ()) -> Trace:
        """System calls of processes until `stop` is set or all of them have ended; of a command, which is started.

        Raises:
            UsageError: no such call, group or method.
            Gone, Denied, Mismatch, Unsupported
        """
        from hostscope.respond import trace
        from hostscope.session.event_exits import let_out

        found = trace.trace(self._host, request, stop, command)
        return trace.Trace(self._exit.answer(found.answer, partial(let_out, self._exit)), found.outcome)

    def trail(self, files: tuple[str, ...] = ()) -> Answer[Entry]:
        """The lines of the audit trail, oldest first: of these files, or of ours.

        Raises:
            Unavailable, Denied: a file cannot be read; with its first line.
        """
        trails, tally = _trails(files), Tally()
        tally.method = "file"

        def leave_out(line: bytes) -> None:
            tally.failed += 1
            tally.note("what is no line of a trail was left out; hostscope audit verify tells where")

        lines = chain.from_iterable(trail.entries(leave_out, self._reading_trails) for trail in trails)
        return Answer(lines, tally.coverage)

    def verify_trail(self, files: tuple[str, ...] = ()) -> Verification:
        """Whether the audit trail is whole: these files, oldest first, or ours.

        Raises:
            Unavailable, Denied: a file cannot be read.
        """
        from hostscope.chain import linked

        return linked(tuple(trail.check(self._reading_trails) for trail in _trails(files)))

    def _reading_trails(self) -> AbstractContextManager[None]:
        return self._host.privileges.using(READ_FILES, "read an audit trail")

    def dump(
        self, targets: Sequence[str], request: DumpRequest | None = None, output: str | None = None, force: bool = False
    ) -> Answer[Dump]:
        """See `hostscope.respond.preserve.dump`."""
        from hostscope.model.dump import DumpRequest
        from hostscope.respond import preserve

        return preserve.dump(self._host, targets, request or DumpRequest(), output, force)

    def analyze(self, path: str, request: AnalysisRequest | None = None) -> DumpAnalysis:
        """See `hostscope.collectors.analysis.analyze`."""
        from hostscope.collectors import analysis

        raised = partial(self._host.privileges.using, READ_FILES, f"read {path}")
        return analysis.analyze(path, request or analysis.AnalysisRequest(), raised)

    def scan(
        self, targets: Sequence[str], rules: str, memory: bool = True, executable: bool = True
    ) -> Answer[RuleMatch]:
        """See `hostscope.collectors.scan.scan`."""
        from hostscope.collectors import scan

        return scan.scan(self._host, targets, rules, memory, executable)

    def verify(self, targets: Sequence[str], request: VerifyRequest | None = None) -> Answer[Signature]:
        """See `hostscope.collectors.signatures.verify`."""
        from hostscope.collectors import signatures

        return signatures.verify(self._host, targets, request or signatures.VerifyRequest())


def _trails(files: tuple[str, ...]) -> list[AuditTrail]:
    from pathlib import Path

    from hostscope.audit import AuditTrail, default_path

    return [AuditTrail(Path(file)) for file in files] or [AuditTrail(default_path())]
