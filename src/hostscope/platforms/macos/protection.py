"""What System Integrity Protection guards, and what follows for a process. Pure, but for `read_allowed`.

Source: bsd/sys/csr.h and osfmk/kern/task.c in xnu; Apple Platform Security, "System Integrity Protection".
"""

from hostscope.model.macos import Fact
from hostscope.platforms.macos.parse_signing import DEBUGGED, GET_TASK_ALLOW, PLATFORM, RESTRICTED, RUNTIME, VALID
from hostscope.platforms.verdict import Verdict

BITS: tuple[tuple[int, str, str], ...] = (
    (1 << 0, "untrusted-kexts", "kernel extensions that nobody signed"),
    (1 << 1, "unrestricted-filesystem", "changes of protected files"),
    (1 << 2, "task-for-pid", "task ports of the system's own programs"),
    (1 << 3, "kernel-debugger", "debugging the kernel"),
    (1 << 4, "apple-internal", "what only Apple's internal builds may"),
    (1 << 5, "unrestricted-dtrace", "DTrace of the system's own programs and of the kernel"),
    (1 << 6, "unrestricted-nvram", "changes of protected NVRAM variables"),
    (1 << 7, "device-configuration", "configuring the device"),
    (1 << 8, "any-recovery-os", "starting any recovery system"),
    (1 << 9, "unapproved-kexts", "kernel extensions that the user did not approve"),
    (1 << 10, "executable-policy-override", "overriding the policy of executables"),
    (1 << 11, "unauthenticated-root", "starting from a system volume that nobody sealed"),
    (1 << 12, "research-guests", "research guests in virtual machines"),
)
"""Bits of csr_get_active_config: what is allowed where the bit is set, and blocked where it is not."""
PATHS = ("/System", "/usr", "/bin", "/sbin", "/var/db/SystemPolicyConfiguration", "/Library/Apple")
OPEN_PATHS = ("/usr/local", "/System/Volumes/Data")
"""Below protected paths, and not protected themselves."""
HEURISTIC, KERNEL = "heuristic", "kernel"
DAEMONS = {
    "com.apple.xpc.launchd": "launchd",
    "com.apple.WindowServer": "WindowServer",
    "com.apple.loginwindow": "loginwindow",
    "com.apple.securityd": "securityd",
    "com.apple.opendirectoryd": "opendirectoryd",
    "com.apple.configd": "configd",
    "com.apple.syslogd": "syslogd",
    "com.apple.notifyd": "notifyd",
    "com.apple.kextd": "kextd",
    "com.apple.logd": "logd",
}
"""Identities of the system's own that have another name, or that nothing works without."""


def allowed_names(config: int) -> tuple[str, ...]:
    """What the configuration allows, by name; unknown bits by number."""
    known = tuple(name for bit, name, _ in BITS if config & bit)
    rest = config & ~sum(bit for bit, _, _ in BITS)
    return (*known, *(f"bit-{number}" for number in range(32) if rest >> number & 1))


def blocked(config: int) -> tuple[str, ...]:
    """What it blocks, in words."""
    return tuple(text for bit, _, text in BITS if not config & bit)


def is_protected(path: str) -> bool:
    """Whether a path lies where System Integrity Protection guards files."""
    return _below(path, PATHS) and not _below(path, OPEN_PATHS)


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def sip_protection(flags: int | None, path: str | None, config: int | None, heuristics: bool) -> Fact | None:
    """Why System Integrity Protection protects a process; None when nothing says that it does.

    Args:
        flags: of csops.
        path: of its program.
        config: of csr_get_active_config; None when it is not known.
        heuristics: a path alone is enough.
    """
    if config is None or config & (1 << 2):
        return None
    if flags is not None and flags & RESTRICTED:
        return Fact("restricted", KERNEL)
    if flags is not None and flags & PLATFORM:
        return Fact("platform binary", KERNEL)
    if heuristics and path is not None and is_protected(path):
        return Fact(f"path {path}", HEURISTIC)
    return None


UNJUDGED = Verdict(None, ())
_OPENED = ((GET_TASK_ALLOW, "get-task-allow"), (DEBUGGED, "debugged"))
_SHIELDED = ((RESTRICTED, "restricted"), (PLATFORM, "platform binary"), (RUNTIME, "hardened runtime"))


def debuggable(pid: int, flags: int | None, config: int | None) -> Verdict:
    """Whether root could take its task port, and the facts that decided; open without reasons where they lack.

    The kernel's own has none; the hardened runtime refuses unless get-task-allow is there; System Integrity Protection
    shields platform binaries and restricted programs.
    """
    if pid == 0:
        return Verdict(False, ("the kernel",))
    if flags is None or config is None:
        return UNJUDGED
    if config & (1 << 2):
        return Verdict(True, ("System Integrity Protection allows task-for-pid",))
    if opened := _named(flags, _OPENED):
        return Verdict(True, opened)
    shielded = _named(flags, _SHIELDED)
    return Verdict(not shielded, shielded or ("neither hardened nor a platform binary nor restricted",))


def _named(flags: int, bits: tuple[tuple[int, str], ...]) -> tuple[str, ...]:
    return tuple(name for bit, name in bits if flags & bit)


def system_daemon(pid: int, flags: int | None, identity: str | None, path: str | None, heuristics: bool) -> Fact | None:
    """Which of the system's own a process that launchd started is: by the kernel's word for its signature.

    Platform binaries count. Whether launchd started it is the caller's to know: what a user starts of Apple's programs
    is none, nor what launchd only took over when its parent ended.
    """
    if pid == 0:
        return Fact("kernel_task", KERNEL)
    if flags is not None and flags & VALID and flags & PLATFORM and identity:
        return Fact(DAEMONS.get(identity, identity), KERNEL)
    if heuristics and flags is None and path is not None and is_protected(path):
        return Fact(path.rpartition("/")[2], HEURISTIC)
    return None
