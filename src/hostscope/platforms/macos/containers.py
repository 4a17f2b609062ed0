"""Containers. macOS' kernel has none: those of Docker Desktop and its like run inside a virtual machine.

What can be told from here is which processes run those machines; what is inside is the guest's kernel's affair.
"""

from collections.abc import Iterator

from hostscope.model.container import Container
from hostscope.platforms.macos.clock import started_at_ns
from hostscope.platforms.macos.guests import RUNTIMES, guest_of
from hostscope.platforms.macos.native import csops
from hostscope.platforms.macos.parse import parse_text
from hostscope.platforms.macos.process_list import read_processes

SOURCE = "signature"


class Containers:
    """Implements `hostscope.platforms.base.Containers`."""

    def describe(self, container: Container) -> Container:
        """The same: there is no local state of containers outside of their virtual machines."""
        return container

    def containers(self) -> Iterator[Container]:
        """Every process that runs a virtual machine or serves one, by its valid signature; `id` is its pid.

        Cost: three calls for each process.

        Raises:
            NativeError
        """
        signatures = csops.Signatures()
        for one in read_processes():
            if name := _guest(signatures, one.pid):
                yield Container(RUNTIMES[name], str(one.pid), name, None, None, started_at_ns(one.start_us), SOURCE)


def _guest(signatures: csops.Signatures, pid: int) -> str | None:
    try:
        flags = signatures.status(pid)
        if not flags & csops.CS_VALID:
            return None
        identifier = parse_text(signatures.blob(pid, csops.CS_OPS_IDENTITY))
    except OSError:
        return None  # it has ended, or has no signature
    return guest_of("", identifier, _team(signatures, pid), bool(flags & csops.CS_PLATFORM_BINARY), None)


def _team(signatures: csops.Signatures, pid: int) -> str | None:
    try:
        return parse_text(signatures.blob(pid, csops.CS_OPS_TEAMID)) or None
    except OSError:
        return None  # Apple's own, and what is signed ad hoc, have none
