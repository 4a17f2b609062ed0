"""The host's own security state: Yama, lockdown, security modules, hidepid and a few switches."""

import os

from msgspec import Struct

from hostscope.model.gap import Gap, Reason
from hostscope.model.security import HostSecurity
from hostscope.model.text import decode
from hostscope.platforms.linux import capabilities
from hostscope.platforms.linux.hostfiles import read_or_gap, reason_of
from hostscope.platforms.linux.parse import parse_ids, parse_security, parse_status
from hostscope.platforms.linux.parse_host import parse_bracketed, parse_mounts
from hostscope.platforms.linux.read import read_file

LSM_NAMES = {
    100: "capability", 101: "selinux", 102: "smack", 103: "tomoyo", 104: "apparmor", 105: "yama", 106: "loadpin",
    107: "safesetid", 108: "lockdown", 109: "bpf", 110: "landlock", 111: "ima", 112: "evm", 113: "ipe",
}  # fmt: skip
"""Source: include/uapi/linux/lsm.h (6.8; ipe from 6.12)."""

HIDEPID = {"0": "off", "1": "noaccess", "2": "invisible", "4": "ptraceable"}
"""Numbers that kernels before 5.8 show, as the words that came then."""


class Paths(Struct, frozen=True):
    """Where the facts are; other places in tests."""

    sysctl: str = "/proc/sys"
    securityfs: str = "/sys/kernel/security"
    mounts: str = "/proc/self/mountinfo"
    status: str = "/proc/self/status"


class Security:
    """Implements `hostscope.platforms.base.Security`."""

    def __init__(self, paths: Paths | None = None) -> None:
        self._paths = paths or Paths()

    def state(self) -> HostSecurity:
        """The state now.

        Cost: eight files; where securityfs is not mounted, one system call more for the modules.
        """
        gaps: list[Gap] = []
        lsms = self._lsms(gaps)
        return HostSecurity(
            yama=self._yama(lsms, gaps),
            lockdown=self._lockdown(lsms, gaps),
            lsms=lsms,
            hidepid=self._hidepid(gaps),
            unprivileged_bpf=self._unprivileged_bpf(gaps),
            module_loading=self._module_loading(gaps),
            unprivileged_port_start=self._number(
                "net/ipv4/ip_unprivileged_port_start", "unprivileged_port_start", gaps
            ),
            gaps=tuple(gaps),
        )

    def _lsms(self, gaps: list[Gap]) -> tuple[str, ...] | None:
        unread: list[Gap] = []
        raw = read_or_gap(f"{self._paths.securityfs}/lsm", "lsms", unread)
        if raw is not None:
            return tuple(decode(name) for name in raw.strip().split(b",") if name)
        found = _lsms_by_call()
        if found is None:
            gaps += unread
        return found

    def _yama(self, lsms: tuple[str, ...] | None, gaps: list[Gap]) -> int | None:
        """None without a gap when Yama is not active: it makes its sysctl when it starts."""
        if not self._has("kernel/yama/ptrace_scope") and "yama" not in (lsms or ()):
            return None
        return self._number("kernel/yama/ptrace_scope", "yama", gaps)

    def _lockdown(self, lsms: tuple[str, ...] | None, gaps: list[Gap]) -> str | None:
        if lsms is not None and "lockdown" not in lsms:
            return "none"
        try:
            return parse_bracketed(read_file(f"{self._paths.securityfs}/lockdown"))
        except FileNotFoundError:
            # Without securityfs the mode cannot be asked for; before Linux 5.4 there was none.
            gaps.append(
                Gap("lockdown", Reason.UNAVAILABLE, f"no file lockdown in {self._paths.securityfs}: not mounted?")
            )
        except OSError as failed:
            gaps.append(Gap("lockdown", reason_of(failed), failed.strerror))
        except ValueError:
            gaps.append(Gap("lockdown", Reason.UNAVAILABLE, "no mode is marked as the one in force"))
        return None

    def _hidepid(self, gaps: list[Gap]) -> str | None:
        """The option, unless it hides nothing from us: then None."""
        raw = read_or_gap(self._paths.mounts, "hidepid", gaps)
        if raw is None:
            return None
        try:
            options = proc_options(raw)
            return None if sees_everything(options, read_file(self._paths.status)) else options["hidepid"]
        except (ValueError, OSError) as failed:
            gaps.append(Gap("hidepid", Reason.UNAVAILABLE, str(failed)))
            return None

    def _unprivileged_bpf(self, gaps: list[Gap]) -> bool | None:
        disabled = self._number("kernel/unprivileged_bpf_disabled", "unprivileged_bpf", gaps)
        return None if disabled is None else disabled == 0

    def _module_loading(self, gaps: list[Gap]) -> bool | None:
        """A kernel without module support has no such sysctl, while its neighbours are there."""
        if not self._has("kernel/modules_disabled") and self._has("kernel/osrelease"):
            return False
        disabled = self._number("kernel/modules_disabled", "module_loading", gaps)
        return None if disabled is None else disabled == 0

    def _has(self, name: str) -> bool:
        return os.path.lexists(f"{self._paths.sysctl}/{name}")

    def _number(self, name: str, field: str, gaps: list[Gap]) -> int | None:
        path = f"{self._paths.sysctl}/{name}"
        raw = read_or_gap(path, field, gaps)
        try:
            return None if raw is None else int(raw)
        except ValueError:
            gaps.append(Gap(field, Reason.UNAVAILABLE, f"{path} is not a number"))
            return None


def proc_options(mounts: bytes) -> dict[str, str]:
    """Options of the /proc mount on top, always with ``hidepid`` (by name) and ``gid``; other flags are empty.

    Raises:
        ValueError: /proc is no mount of type proc.
    """
    found = [mount for mount in parse_mounts(mounts) if mount.point == b"/proc" and mount.type == b"proc"]
    if not found:
        raise ValueError("/proc is not a mount point of type proc")
    options = {"hidepid": "off", "gid": "0"}
    for option in found[-1].options:
        name, _, value = decode(option).partition("=")
        options[name] = value
    options["hidepid"] = HIDEPID.get(options["hidepid"], options["hidepid"])
    return options


def sees_everything(options: dict[str, str], status: bytes) -> bool:
    """Whether hidepid hides nothing from the process with this /proc/PID/status.

    CAP_SYS_PTRACE passes every mode (permitted is enough: a sweep raises it), the group of the gid option passes
    ``noaccess`` and ``invisible``. Source: has_pid_permissions() in fs/proc/base.c.
    """
    if options["hidepid"] == "off":
        return True
    parsed = parse_status(status)
    if parse_security(parsed.security).permitted & capabilities.mask(["sys_ptrace"]):
        return True
    groups = [*map(int, parsed.groups.split()), parse_ids(parsed.ids).gids[3]]
    return options["hidepid"] != "ptraceable" and int(options["gid"]) in groups


def _lsms_by_call() -> tuple[str, ...] | None:
    """The modules where securityfs is not mounted; None before Linux 6.8."""
    from hostscope.platforms.linux.native import libc

    try:
        return tuple(LSM_NAMES.get(number, f"lsm {number}") for number in libc.lsm_ids())
    except OSError:
        return None  # the caller states the gap
