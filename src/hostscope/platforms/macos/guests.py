"""Virtual machines, by the processes that run them: recognised by their signatures, which the kernel checked.

A path alone proves nothing; it only says whose signature is worth a question.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple

FRAMEWORK = "Virtualization.framework"
FRAMEWORK_IDENTIFIER = "com.apple.Virtualization.VirtualMachine"
"""Apple's service that runs a machine for whoever asks: a platform binary, one process for each machine."""


class Known(NamedTuple):
    """A program that runs virtual machines."""

    name: str
    runtime: str
    identifiers: tuple[str, ...]
    """Patterns of signing identifiers."""
    team: str
    """Of its signer."""


KNOWN = (
    Known("Docker Desktop", "docker", ("com.docker.*",), "9BNSXJN65R"),
    Known("Apple container", "apple-container", ("com.apple.container.*",), "UPBK2H6LZM"),
    Known("OrbStack", "orbstack", ("dev.kdrag0n.MacVirt*", "dev.orbstack.*"), "HUAQ24HBR6"),
    Known("Parallels Desktop", "parallels", ("com.parallels.vm*",), "4C6364ACXT"),
    Known("VMware Fusion", "vmware", ("com.vmware.vmware-vmx",), "EG7KH642X6"),
    Known("VirtualBox", "virtualbox", ("org.virtualbox.*", "VirtualBoxVM", "VBoxHeadless"), "VB5E2TV963"),
    Known("UTM", "utm", ("com.utmapp.*",), "WDNLXAD4W8"),
)  # fmt: skip
"""In the order in which they are tried."""
APPLE_CONTAINER = "com.apple.container.container-runtime-linux"
"""Identifier of the program that runs one container of Apple's tool `container` (macOS 26), in a machine of its own;
with the container's name behind it, the label of the launchd job that it is."""
RUNTIMES = {known.name: known.runtime for known in KNOWN} | {FRAMEWORK: "virtualization"}
_CANDIDATES = (
    "*/com.apple.Virtualization.VirtualMachine", "*/Docker.app/*", "*/com.docker.*", "*/container-runtime-linux",
    "*/OrbStack*", "*/prl_vm_app", "*/vmware-vmx*", "*/VirtualBoxVM", "*/VBoxHeadless", "*/UTM*", "*/QEMULauncher*",
)  # fmt: skip


def is_candidate(path: str) -> bool:
    """Whether the signature of what runs at a path is worth a question."""
    return any(fnmatchcase(path, pattern) for pattern in _CANDIDATES)


def guest_of(identifier: str | None, team: str | None, platform: bool, owner: str | None) -> str | None:
    """Which virtual machine a process runs or serves.

    Args:
        identifier, team: of a signature that the kernel holds valid; None without one.
        platform: Apple's own.
        owner: the team that signed the process which is responsible for it.

    Returns:
        The name of the product, or None for everything that is not proven.
    """
    if platform and identifier == FRAMEWORK_IDENTIFIER:
        return next((known.name for known in KNOWN if known.team == owner), FRAMEWORK)
    for known in KNOWN:
        if known.team == team and any(fnmatchcase(identifier or "", pattern) for pattern in known.identifiers):
            return known.name
    return None
