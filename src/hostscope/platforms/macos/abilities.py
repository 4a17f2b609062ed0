"""What hostscope can do on this Mac, what is missing, and what gives it."""

import os
import sys
from collections.abc import Callable
from glob import glob

from msgspec import Struct

from hostscope.audit import AuditTrail
from hostscope.errors import Unsupported
from hostscope.model.host import Ability
from hostscope.platforms.macos import protection
from hostscope.platforms.macos.native import errnos, mach
from hostscope.platforms.macos.native.csops import Signatures
from hostscope.platforms.macos.parse_signing import RESTRICTED, parse_entitlements
from hostscope.platforms.macos.security import read_sip

SUDO = "sudo hostscope"
DEBUGGER = "com.apple.security.cs.debugger"
ENTITLEMENTS_FILE = f"""<?xml version="1.0"?><plist version="1.0"><dict><key>{DEBUGGER}</key><true/></dict></plist>"""
SIGN = (
    f"cp $(readlink -f {sys.executable}) ./python-debugger; echo '{ENTITLEMENTS_FILE}' > debugger.plist; "
    "codesign --force --options runtime --entitlements debugger.plist --sign - ./python-debugger"
)
"""The python.org and Homebrew interpreters: a copy is signed, ad hoc, the original stays as it is."""
BPF_DEVICES = "/dev/bpf*"


class Found(Struct, frozen=True):
    """The outcome of one test."""

    available: bool
    detail: str
    enable: str | None = None


def list_abilities(root: bool, trail: AuditTrail) -> tuple[Ability, ...]:
    """Each ability, tried where trying changes nothing.

    Args:
        root: root is in effect, or can be brought back.
        trail: the audit trail, which acts need.
    """
    return tuple(
        Ability(name, found.available, found.detail, found.enable, lost if not found.available else None, needs)
        for name, needs, lost, test in _TESTS
        for found in (test(root, trail),)
    )


def _processes(root: bool, trail: AuditTrail) -> Found:
    return Found(True, "every process with its owner, arguments of your own (sysctl KERN_PROC)")


def _root(root: bool, trail: AuditTrail) -> Found:
    if root:
        return Found(True, "root: counters, files and arguments of every process")
    return Found(False, f"user {os.geteuid()} is not root", SUDO)


def _packets(root: bool, trail: AuditTrail) -> Found:
    """Opens the first free device and closes it again; nothing is bound, so nothing is captured."""
    devices = sorted(glob(BPF_DEVICES))
    for path in devices:
        try:
            os.close(os.open(path, os.O_RDONLY))
            return Found(True, f"{path} opens")
        except OSError as failed:
            if failed.errno != errnos.EBUSY:
                return Found(False, f"{path}: {errnos.text(failed.errno or 0)}", _BPF_ENABLE)
    return Found(False, "all of /dev/bpf* are in use" if devices else "there is no /dev/bpf*", SUDO)


_BPF_ENABLE = f"{SUDO}, or membership in the group access_bpf that Wireshark's ChmodBPF makes"


def _memory(root: bool, trail: AuditTrail) -> Found:
    """Asks for the task port of our parent's process; the port is given back at once."""
    try:
        mach.release(mach.task_port(os.getppid(), to_read=False))
    except (mach.KernFailure, Unsupported) as failed:
        return Found(False, str(failed), SUDO if not root else SIGN)
    return Found(True, "task_for_pid gives the task port of other processes")


def _debugger(root: bool, trail: AuditTrail) -> Found:
    try:
        signatures, pid = Signatures(), os.getpid()
        names = {entry.name for entry in parse_entitlements(b"", signatures.blob(pid, 7))}
        restricted = bool(signatures.status(pid) & RESTRICTED)
    except (OSError, ValueError, Unsupported) as failed:
        return Found(False, f"our own signature cannot be read: {failed}", SIGN)
    if DEBUGGER in names:
        return Found(True, f"{sys.executable} has {DEBUGGER}")
    note = "; it is restricted by System Integrity Protection" if restricted else ""
    return Found(False, f"{sys.executable} has no {DEBUGGER}{note}", SIGN)


def _protected(root: bool, trail: AuditTrail) -> Found:
    try:
        config = read_sip()
    except (OSError, Unsupported) as failed:
        return Found(False, f"System Integrity Protection: {failed}")
    allowed = protection.allowed_names(config)
    if "task-for-pid" in allowed:
        return Found(True, "System Integrity Protection allows task ports of the system's own programs")
    detail = "System Integrity Protection shields the system's own and hardened programs from root too"
    return Found(False, detail, "csrutil enable --without debug, in the recovery system: for test machines only")


def _events(root: bool, trail: AuditTrail) -> Found:
    if not os.path.exists("/usr/bin/eslogger"):
        return Found(False, "there is no /usr/bin/eslogger: it came with macOS 13")
    if not root:
        return Found(False, "eslogger needs root", SUDO)
    return Found(True, "eslogger is there; Terminal needs Full Disk Access in System Settings, Privacy")


def _acts(root: bool, trail: AuditTrail) -> Found:
    problem = trail.obstacle()
    return Found(problem is None, problem or "the audit trail can be written to")


Test = Callable[[bool, AuditTrail], Found]
_TESTS: tuple[tuple[str, tuple[str, ...], str, Test], ...] = (
    ("processes", (), "", _processes),
    (
        "full_detail", ("root",),
        "of other users' processes: identity, program and signature only", _root,
    ),
    ("capture", ("root",), "no packets; capture files can still be read", _packets),
    ("memory", ("root",), "no memory of other processes: regions by libproc only", _memory),
    ("debugger_entitlement", (), "task ports of other users' programs need root", _debugger),
    ("protected_memory", (), "no memory of the system's own and of hardened programs", _protected),
    ("events", ("root",), "kqueue instead: exits, forks and new programs; short-lived ones may be missed", _events),
    ("acts", (), "no act is possible: what is done must be written down first", _acts),
)  # fmt: skip
