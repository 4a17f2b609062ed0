"""What every session answers: on this host, at an agent, or across a fleet."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hostscope.chain import Entry, Verification
    from hostscope.collectors.signatures import VerifyRequest
    from hostscope.model.answer import Answer
    from hostscope.model.container import Container
    from hostscope.model.dns import DnsQuery, DnsRequest, Resolver
    from hostscope.model.dump import Dump, DumpRequest, RuleMatch
    from hostscope.model.event import Event
    from hostscope.model.host import Ability, Finding, HostCounters, NamedCounter
    from hostscope.model.inspection import HostInspection, ProcessInspection
    from hostscope.model.process import Process
    from hostscope.model.request import ProcessRequest
    from hostscope.model.response import Act, ActRequest, Plan
    from hostscope.model.service import ServiceState
    from hostscope.model.signature import Signature
    from hostscope.model.tree import TreeRow
    from hostscope.wire.scores import ScoreBoard


class Session(Protocol):
    """Secrets in arguments and environments are masked in everything a session gives."""

    def snapshot(self, table: str, request: ProcessRequest | None = None) -> Answer[Any]:
        """The rows of a table now.

        Raises:
            UsageError: no such table.
        """

    def stream(self, table: str, stop: threading.Event, interval_s: float = 2.0) -> Iterator[Event]:
        """What changes about a table, until `stop` is set.

        Raises:
            UsageError: no such stream.
        """

    def plan(self, request: ActRequest) -> Plan:
        """What an act would do to whom, and what the guard says; changes nothing. A dry run goes to the audit trail.

        Raises:
            UsageError: the request makes no sense. Gone: nothing is meant. Denied, Mismatch, Unsupported
        """

    def apply(self, plan: Plan, confirmed: bool = False) -> Act:
        """Does what a plan says, to those very processes; the guard judges again.

        Raises:
            Refused: by the guard, or because it is not confirmed; nothing was done.
            Unavailable: the audit trail cannot be written; nothing was done.
            Incomplete: evidence could not be preserved; nothing else was done.
        """

    def trail(self, files: tuple[str, ...] = ()) -> Answer[Entry]:
        """The lines of the audit trail."""

    def verify_trail(self, files: tuple[str, ...] = ()) -> Verification:
        """Whether the audit trail is whole."""

    def dump(
        self, targets: Sequence[str], request: DumpRequest | None = None, output: str | None = None, force: bool = False
    ) -> Answer[Dump]:
        """Preserves the memory of processes in files; a row for each.

        Raises:
            UsageError, Gone, Denied, Mismatch: with the first row.
        """

    def scan(
        self, targets: Sequence[str], rules: str, memory: bool = True, executable: bool = True
    ) -> Answer[RuleMatch]:
        """What YARA rules find in processes; a row for each match.

        Raises:
            RuleError: a rule is wrong. UsageError, Gone, Denied, Mismatch: with the first row.
        """

    def verify(self, targets: Sequence[str], request: VerifyRequest | None = None) -> Answer[Signature]:
        """Who vouches for files and for what processes run; a row for each target.

        Raises:
            UsageError: a root or catalogue cannot be used. UsageError, Gone, Denied, Mismatch: with the first row.
        """

    def processes(self, request: ProcessRequest | None = None) -> Answer[Process]:
        """Every process, in ascending pid order."""

    def process_tree(self, request: ProcessRequest | None = None) -> Answer[TreeRow]:
        """Every process, parents before their children."""

    def process(self, target: str | int, request: ProcessRequest | None = None) -> Process:
        """One process, by pid, name, ``:PORT`` or key.

        Raises:
            UsageError: several are called so, or it is no target.
            Gone, Denied, Mismatch
        """

    def inspect(self, target: str | int) -> ProcessInspection:
        """Everything about one process; raises as `process`."""

    def host(self) -> HostInspection:
        """What the host is and what can be seen of it from here."""

    def hidden(self) -> Answer[Finding]:
        """Processes that some ways of looking do not show."""

    def counters(self) -> Answer[HostCounters]:
        """One row: the host's counters now."""

    def named_counters(self, paths: tuple[str, ...], interval_s: float = 1.0) -> Answer[NamedCounter]:
        """The system's own counters by name; rates are taken over `interval_s`.

        Raises:
            UsageError: there is no counter of that name.
            Unsupported: this system has no counters by name.
        """

    def containers(self) -> Answer[Container]:
        """Every container."""

    def services(self) -> Answer[ServiceState]:
        """Every unit of the service manager."""

    def service_changes(self, stop: threading.Event, interval_s: float = 2.0) -> Iterator[Event]:
        """State changes of units, until `stop` is set."""

    def resolvers(self, resolve: bool = False) -> Answer[Resolver]:
        """Every configured resolver; with `resolve` their names, which sends packets."""

    def dns_queries(self, request: DnsRequest, stop: threading.Event, board: ScoreBoard) -> Answer[DnsQuery]:
        """Every question that passes until `stop` is set, when it has ended; `board` counts along.

        Raises:
            UsageError, Denied, Unsupported, Unavailable: packets cannot be captured so; with the first row.
        """

    def abilities(self) -> Answer[Ability]:
        """What hostscope can do here."""
