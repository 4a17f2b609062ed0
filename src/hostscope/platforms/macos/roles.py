"""What a process is to its host: recognised by its file, its user and its signature, never by its name.

A name proves nothing: anybody can call a program ``loginwindow``. What the kernel checks does: the system's own
programs are platform binaries (signed by Apple, in its trust cache), which nobody else's can be; their paths are on
the sealed system volume, and they run as root or as the accounts that are made for them. Where the platform flag
cannot be read nothing is recognised, except what only the kernel can be.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple

from hostscope.model.process import Process
from hostscope.model.response import Role
from hostscope.platforms.macos.native import csops

ROOT = frozenset({"0"})
ANYONE: frozenset[str] = frozenset()
WINDOW_SERVER = frozenset({"0", "88"})
"""_windowserver."""


class Known(NamedTuple):
    """A program that hosts depend on."""

    role: str
    paths: tuple[str, ...]
    users: frozenset[str] = ROOT
    """Numbers; anybody's when empty."""
    session: bool = False
    service: bool = True
    clients: bool = False


_PRIVATE = "/System/Library/PrivateFrameworks"
KNOWN: tuple[Known, ...] = (
    Known("launchd", ("/sbin/launchd",)),
    Known("window server", (f"{_PRIVATE}/SkyLight.framework/*/WindowServer",
          "/System/Library/Frameworks/ApplicationServices.framework/*/WindowServer"), WINDOW_SERVER),
    Known("login window", ("/System/Library/CoreServices/loginwindow.app/Contents/MacOS/loginwindow",), ANYONE,
          session=True),
    Known("security server", ("/usr/sbin/securityd", "/usr/libexec/secd", "/usr/libexec/trustd",
          "/System/Library/Frameworks/Security.framework/*/authd")),
    Known("system policy", ("/usr/libexec/syspolicyd", "/usr/libexec/amfid", "/usr/libexec/sandboxd",
          "/usr/libexec/endpointsecurityd", f"{_PRIVATE}/TCC.framework/*/tccd")),
    Known("directory", ("/usr/libexec/opendirectoryd",)),
    Known("configuration", ("/usr/libexec/configd", "/usr/sbin/cfprefsd")),
    Known("name resolution", ("/usr/sbin/mDNSResponder", "/usr/sbin/mDNSResponderHelper"), frozenset({"0", "65"})),
    Known("file system events", (
          "/System/Library/Frameworks/CoreServices.framework/*/fseventsd", "/usr/libexec/fseventsd")),
    Known("disks", ("/usr/libexec/diskarbitrationd", "/usr/sbin/diskarbitrationd")),
    Known("log", ("/usr/libexec/logd", "/usr/sbin/syslogd")),
    Known("notifications", ("/usr/sbin/notifyd", "/usr/sbin/distnoted"), ANYONE),
    Known("power", ("/System/Library/CoreServices/powerd.bundle/powerd", "/usr/libexec/watchdogd",
          "/usr/libexec/thermalmonitord")),
    Known("kernel extensions", ("/usr/libexec/kernelmanagerd", "/usr/libexec/kextd",
          "/System/Library/Frameworks/SystemExtensions.framework/*/sysextd")),
    Known("user accounts", ("/usr/libexec/UserEventAgent", "/System/Library/CoreServices/coreservicesd",
          "/System/Library/CoreServices/launchservicesd"), ANYONE),
    Known("ssh server", ("/usr/sbin/sshd", "/usr/libexec/sshd-session", "/usr/libexec/sshd-keygen-wrapper"), ANYONE,
          session=True),
    Known("remote shell", ("/usr/bin/login", "/usr/bin/su", "/usr/bin/sudo"), ANYONE, session=True, service=False),
    Known("terminal", ("/System/Applications/Utilities/Terminal.app/Contents/MacOS/Terminal",), ANYONE, session=True,
          service=False),
    Known("terminal multiplexer", ("/usr/bin/screen",), ANYONE, session=True, service=False, clients=True),
)  # fmt: skip
"""In the order in which they are tried. Paths of macOS 10.15 to 15."""
KERNEL = Role("kernel", True, False, "process 0, the kernel itself")


def recognise(process: Process, flags: int | None) -> Role | None:
    """The role, or None for everything that is not proven.

    Args:
        flags: of the kernel's about its signature (csops); None when they could not be read.
    """
    if process.key.pid == 0:
        return KERNEL
    if flags is None or process.exe is None or not flags & csops.CS_PLATFORM_BINARY or not flags & csops.CS_VALID:
        return None
    path = process.exe.path
    for known in KNOWN:
        if any(fnmatchcase(path, pattern) for pattern in known.paths) and _runs_as(process, known.users):
            return _role(known, process, path)
    return None


def _runs_as(process: Process, users: frozenset[str]) -> bool:
    return not users or (process.owner is not None and process.owner.id in users)


def _role(known: Known, process: Process, path: str) -> Role:
    owner = process.owner
    user = (owner.name or owner.id) if owner else "an unknown user"
    facts = f"runs {path}, a platform binary whose signature the kernel holds valid, as {user}"
    return Role(known.role, known.service, known.session, facts, known.clients)
