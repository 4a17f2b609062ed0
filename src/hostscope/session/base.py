"""What every session answers: on this host, at an agent, or across a fleet."""

import threading
from collections.abc import Iterator
from typing import Any, Protocol

from hostscope.model.answer import Answer
from hostscope.model.container import Container
from hostscope.model.event import Event
from hostscope.model.host import Ability, Finding, HostCounters
from hostscope.model.inspection import HostInspection, ProcessInspection
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.service import ServiceState
from hostscope.model.tree import TreeRow


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

    def plan(self, action: str, target: str) -> Any:
        """What an action would do, and whether the guard allows it.

        Raises:
            Unsupported: actions are not built yet.
        """

    def apply(self, plan: Any) -> Any:
        """Does what a plan says.

        Raises:
            Unsupported: actions are not built yet.
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

    def containers(self) -> Answer[Container]:
        """Every container."""

    def services(self) -> Answer[ServiceState]:
        """Every unit of the service manager."""

    def service_changes(self, stop: threading.Event, interval_s: float = 2.0) -> Iterator[Event]:
        """State changes of units, until `stop` is set."""

    def abilities(self) -> Answer[Ability]:
        """What hostscope can do here."""
