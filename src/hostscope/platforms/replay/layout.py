"""What stands in a recording: JSON, one object a line, whole or gzipped.

A header comes first; then the native answers, each under the call that gave it; an end line with the number of lines
between comes last. The rows of a sweep are lines of their own, followed by a coverage line; every other answer is one
line. A call that failed stands there as its failure. A minor change only adds optional fields and calls.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct
from msgspec.json import Decoder

from hostscope.model import container, process, service
from hostscope.model.container import Container
from hostscope.model.coverage import Coverage
from hostscope.model.host import ABILITY_SCHEMA, COUNTERS_SCHEMA, Ability, HostCounters, HostInfo
from hostscope.model.interface import INTERFACE_SCHEMA, Interface
from hostscope.model.package import FileOwner
from hostscope.model.process import Digest, Process
from hostscope.model.security import HostSecurity
from hostscope.model.service import ServiceState
from hostscope.model.socket import SOCKET_SCHEMA, Socket

RECORDING_SCHEMA = "hostscope.recording/1"
FAILURE_SCHEMA = "hostscope.failure/1"
END_SCHEMA = "hostscope.recording_end/1"

Body = TypeVar("Body")


class Header(Struct, frozen=True):
    """The first line."""

    schema: str
    created_at_ns: int
    """UTC since the epoch."""
    tool: str
    """Version of the hostscope that recorded."""
    masked: bool
    """Secrets in arguments were masked before they were written."""
    fields: tuple[str, ...]
    """Field groups that were collected."""
    host: HostInfo | None
    """The host that was recorded; None when it could not say."""


class Line(Struct, frozen=True, omit_defaults=True):
    """Every other line."""

    schema: str
    """Of `body`."""
    call: str
    """Protocol and method, such as ``processes.sweep``."""
    body: msgspec.Raw
    of: str | None = None
    """What was asked about, where a call takes an argument: a key, a path, a container's id."""


class Failure(Struct, frozen=True, omit_defaults=True):
    """An error in place of an answer."""

    error: str
    """Name of the class in `hostscope.errors`."""
    message: str
    hint: str | None = None
    native_call: str | None = None
    code: int | None = None


@dataclass(frozen=True, eq=False)
class Call(Generic[Body]):
    """One kind of answer."""

    name: str
    schema: str
    decoder: Decoder[Body]


SWEEP = Call("processes.sweep", process.SCHEMA, Decoder(Process))
SWEEP_COVERAGE = Call("processes.coverage", "hostscope.coverage/1", Decoder(Coverage))
INFO = Call("system.info", "hostscope.host/1", Decoder(HostInfo))
SECURITY = Call("security.state", "hostscope.host_security/1", Decoder(HostSecurity))
COUNTERS = Call("counters.read", COUNTERS_SCHEMA, Decoder(HostCounters))
HELD: Call[tuple[str, ...]] = Call("privileges.held", "hostscope.privileges/1", Decoder(tuple[str, ...]))
ABILITIES: Call[tuple[Ability, ...]] = Call("privileges.abilities", ABILITY_SCHEMA, Decoder(tuple[Ability, ...]))
SERVICES: Call[tuple[ServiceState, ...]] = Call("services.services", service.SCHEMA, Decoder(tuple[ServiceState, ...]))
CONTAINERS: Call[tuple[Container, ...]] = Call(
    "containers.containers", container.SCHEMA, Decoder(tuple[Container, ...])
)
SOCKET_SWEEP = Call("sockets.sweep", SOCKET_SCHEMA, Decoder(Socket))
SOCKET_COVERAGE = Call("sockets.coverage", "hostscope.coverage/1", Decoder(Coverage))
INTERFACES: Call[tuple[Interface, ...]] = Call(
    "interfaces.interfaces", INTERFACE_SCHEMA, Decoder(tuple[Interface, ...])
)
INTERFACE_COVERAGE = Call("interfaces.coverage", "hostscope.coverage/1", Decoder(Coverage))
DIGEST = Call("files.digest", "hostscope.digest/1", Decoder(Digest))
OWNER: Call[FileOwner | None] = Call("packages.owner", "hostscope.file_owner/1", Decoder(FileOwner | None))

CALLS: tuple[Call[Any], ...] = (
    SWEEP,
    SWEEP_COVERAGE,
    INFO,
    SECURITY,
    COUNTERS,
    HELD,
    ABILITIES,
    SERVICES,
    CONTAINERS,
    SOCKET_SWEEP,
    SOCKET_COVERAGE,
    INTERFACES,
    INTERFACE_COVERAGE,
    DIGEST,
    OWNER,
)
"""Everything a recording may hold."""

ROWS = frozenset({SWEEP.name, SOCKET_SWEEP.name})
"""Calls whose answers are many lines, which are read again for every sweep instead of being kept."""
