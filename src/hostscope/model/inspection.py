"""Everything about one process, and everything about the host that looks."""

from msgspec import Struct

from hostscope.model.detail import ProcessDetail
from hostscope.model.gap import Gap
from hostscope.model.host import Ability, HostInfo
from hostscope.model.process import Process
from hostscope.model.security import HostSecurity
from hostscope.model.service import ServiceState

PROCESS_SCHEMA = "hostscope.process_inspection/1"
HOST_SCHEMA = "hostscope.host_inspection/1"


class ProcessInspection(Struct, frozen=True):
    """One process with all that is known of it, and why it runs."""

    process: Process
    detail: ProcessDetail
    ancestors: tuple[Process, ...]
    """Parent first, as far as they still run."""
    unit: ServiceState | None
    """The service it belongs to, as its manager sees it."""
    why: tuple[str, ...]
    """Derived from the facts above, one sentence each, nearest cause first."""
    gaps: tuple[Gap, ...] = ()
    """Of everything beside the process and its detail, which carry their own."""


class HostInspection(Struct, frozen=True):
    """What this host is and what can be seen of it from here."""

    info: HostInfo
    security: HostSecurity | None
    privileges: tuple[str, ...]
    """Held by us now."""
    abilities: tuple[Ability, ...]
    gaps: tuple[Gap, ...] = ()
