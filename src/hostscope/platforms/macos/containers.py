"""Containers. macOS' kernel has none: those of Docker Desktop and its like run inside a virtual machine.

What can be told from here is which processes run those machines; what is inside is the guest's kernel's affair.
Apple's own tool gives each container a machine, and its name to the launchd job that runs it.
"""

from collections.abc import Iterator

from hostscope.model.container import Container
from hostscope.platforms.macos.clock import started_at_ns
from hostscope.platforms.macos.context import JOB_VARIABLE
from hostscope.platforms.macos.guests import APPLE_CONTAINER, RUNTIMES, guest_of
from hostscope.platforms.macos.native import csops
from hostscope.platforms.macos.parse import parse_text
from hostscope.platforms.macos.process_list import read_processes
from hostscope.platforms.macos.questions import Questions

SOURCE = "signature"


class Containers:
    """Implements `hostscope.platforms.base.Containers`."""

    def describe(self, container: Container) -> Container:
        """The same: there is no local state of containers outside of their virtual machines."""
        return container

    def containers(self) -> Iterator[Container]:
        """Every process that runs a virtual machine or serves one, by its valid signature.

        `id` is its pid, or of Apple's containers their name where its environment, which launchd made, tells it.

        Cost: three calls for each process.

        Raises:
            NativeError
        """
        signatures, questions = csops.Signatures(), Questions()
        for one in read_processes():
            name, identifier = _guest(signatures, one.pid)
            if name:
                own = _named(questions, one.pid) if identifier == APPLE_CONTAINER else None
                began = started_at_ns(one.start_us)
                yield Container(RUNTIMES[name], own or str(one.pid), name, None, None, began, SOURCE)


def _guest(signatures: csops.Signatures, pid: int) -> tuple[str | None, str]:
    """The product, and the signing identifier."""
    try:
        flags = signatures.status(pid)
        if not flags & csops.CS_VALID:
            return None, ""
        identifier = parse_text(signatures.blob(pid, csops.CS_OPS_IDENTITY))
    except OSError:
        return None, ""  # it has ended, or has no signature
    platform = bool(flags & csops.CS_PLATFORM_BINARY)
    return guest_of(identifier, _team(signatures, pid), platform, None), identifier


def _named(questions: Questions, pid: int) -> str | None:
    """Of the container that a helper of Apple's runs."""
    try:
        environment = questions.arguments(pid).environment
    except (OSError, ValueError):
        return None  # another user's, or it has ended
    start = f"{JOB_VARIABLE}{APPLE_CONTAINER}."
    return next((text[len(start) :] for text in environment if text.startswith(start)), None) or None


def _team(signatures: csops.Signatures, pid: int) -> str | None:
    try:
        return parse_text(signatures.blob(pid, csops.CS_OPS_TEAMID)) or None
    except OSError:
        return None  # Apple's own, and what is signed ad hoc, have none
