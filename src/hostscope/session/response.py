"""The verbs of a session on this host that preserve, watch and act."""

from itertools import chain
from pathlib import Path

from hostscope.audit import AuditTrail, Entry, default_path
from hostscope.chain import Verification, linked
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.model.response import Act, ActRequest, Plan
from hostscope.platforms.base import Host
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

    def trail(self, files: tuple[str, ...] = ()) -> Answer[Entry]:
        """The lines of the audit trail, oldest first: of these files, or of ours.

        Raises:
            Unavailable: a file cannot be read; with its first line.
        """
        trails = _trails(files)
        rows, coverage = chain.from_iterable(trail.entries() for trail in trails), Coverage("file")
        return Answer(rows, lambda: coverage)

    def verify_trail(self, files: tuple[str, ...] = ()) -> Verification:
        """Whether the audit trail is whole: these files, oldest first, or ours.

        Raises:
            Unavailable: a file cannot be read.
        """
        return linked(tuple(trail.check() for trail in _trails(files)))


def _trails(files: tuple[str, ...]) -> list[AuditTrail]:
    return [AuditTrail(Path(file)) for file in files] or [AuditTrail(default_path())]
