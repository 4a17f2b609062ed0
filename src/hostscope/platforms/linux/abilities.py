"""What hostscope can do on this host, what is missing, and the command that gives it.

Judged by what is permitted, not what is in effect: steps raise what they need when they need it.
"""

import os
import pwd
import re
import shlex
import sys
from collections.abc import Iterable

from msgspec import Struct

from hostscope.audit import AuditTrail
from hostscope.errors import Unavailable
from hostscope.model.host import Ability
from hostscope.platforms.linux import capabilities
from hostscope.platforms.linux.read import read_file
from hostscope.platforms.linux.security import Security

BTF = "/sys/kernel/btf/vmlinux"
ITERATOR = ("bpf", "perfmon")
READ_OTHERS = ("dac_read_search", "sys_ptrace")
CONTAINER_STATE = (
    "/var/lib/docker/containers", "/run/containerd/io.containerd.runtime.v2.task", "/var/lib/containers/storage",
    "/run/crio", "/var/lib/lxc", "/run/systemd/machines",
)  # fmt: skip
"""Where runtimes keep the state that names come from."""
SYSTEM_BUS = "/run/dbus/system_bus_socket"
HIDEPID_REMEDY = "mount -o remount,hidepid=off /proc, or CAP_SYS_PTRACE"
PACKAGE_DATABASES = ("/var/lib/dpkg/status", "/var/lib/rpm", "/usr/lib/sysimage/rpm")


class Ourselves(Struct, frozen=True):
    """What abilities depend on."""

    permitted: int
    """Capability masks."""
    bounding: int
    uid: int
    gid: int
    host_user_ns: bool


def list_abilities(we: Ourselves, trail: AuditTrail) -> tuple[Ability, ...]:
    """Every ability. Loads no program, opens no bus, writes nothing."""
    return (
        iterator(we),
        _with(we, "full_detail", READ_OTHERS, "open files, maps and links of other users' processes"),
        _with(we, "environment", READ_OTHERS, "environment of other users' processes"),
        _with(we, "digest", READ_OTHERS, "SHA-256 of what other users' processes run"),
        _with(we, "capture", ("net_raw",), "packets of interfaces, in promiscuous mode too"),
        _capture_filters(),
        _with(we, "network_namespaces", ("sys_admin",), "interfaces and sockets of other network namespaces"),
        _every_process(),
        _pidfd(),
        _container_state(we),
        _service_manager(),
        _package_database(),
        _pressure(),
        _audit_trail(trail),
    )


def iterator(we: Ourselves) -> Ability:
    """Whether the kernel iterator can be tried: privilege, kernel, type information, lockdown."""
    obstacle = _iterator_obstacle(we, kernel_version(os.uname().release))
    if obstacle:
        return Ability("iterator", False, obstacle)
    # CAP_SYS_ADMIN stands in for both, as it did before they were split off in 5.8.
    stand_in = _lacking(we.permitted, ITERATOR) and not _lacking(we.permitted, ("sys_admin",))
    enough = ("sys_admin",) if stand_in else ITERATOR
    return _with(we, "iterator", enough, "every process in one read, by eBPF")


def _iterator_obstacle(we: Ourselves, kernel: tuple[int, int]) -> str | None:
    """What no privilege cures."""
    if kernel < (5, 8):
        return f"Linux {kernel[0]}.{kernel[1]} has no process iterators (5.8 has)"
    if not os.path.exists(BTF):
        return f"the kernel was built without type information ({BTF})"
    if not we.host_user_ns:
        return "we run in a user namespace of our own, where capabilities do not count for eBPF"
    if Security().state().lockdown == "confidentiality":
        return "lockdown=confidentiality lets no program read kernel memory"
    return None


def kernel_version(release: str) -> tuple[int, int]:
    """``6.1.0-18-amd64`` -> (6, 1); (0, 0) for a release that begins otherwise."""
    found = re.match(r"([0-9]{1,9})\.([0-9]{1,9})", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _with(we: Ourselves, name: str, names: tuple[str, ...], what: str) -> Ability:
    lacking = _lacking(we.permitted, names)
    if lacking:
        return Ability(name, False, f"{what}: not permitted {_upper(lacking)}", enabling(we, names))
    return Ability(name, True, f"{what}: {_upper(names)} permitted")


def _lacking(permitted: int, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if not permitted & capabilities.mask([name]))


def _upper(names: Iterable[str]) -> str:
    return " ".join(f"CAP_{name.upper()}" for name in names)


def enabling(we: Ourselves, names: tuple[str, ...]) -> str:
    """The exact way to run with these capabilities: a command and a unit's settings, or a container's options."""
    if lacking := _lacking(we.bounding, names):
        options = " ".join(f"--cap-add={name.upper()}" for name in lacking)
        return f"outside of the bounding set: start the container with {options} (docker, podman)"
    return f"{setpriv_line(names, we.uid, we.gid)}\n{unit_lines(names, we.uid)}"


def setpriv_line(names: tuple[str, ...], uid: int, gid: int, command: Iterable[str] | None = None) -> str:
    """A shell line that runs `command` (default: hostscope) as this user, with these capabilities and no others.

    Ambient capabilities survive execve(2) of an ordinary program; to become ambient they must be inheritable first.
    """
    raised = ",".join(f"+{name}" for name in names)
    groups = "--init-groups" if _has_account(uid) else "--clear-groups"
    options = [f"--reuid={uid}", f"--regid={gid}", groups, f"--inh-caps={raised}", f"--ambient-caps={raised}"]
    return "sudo " + shlex.join(["setpriv", *options, *(command or [_program(), "ps"])])


def unit_lines(names: tuple[str, ...], uid: int) -> str:
    """The same in a systemd unit (systemd.exec(5))."""
    listed = _upper(names)
    return f"[Service]\nUser={uid}\nAmbientCapabilities={listed}\nCapabilityBoundingSet={listed}"


def _has_account(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _program() -> str:
    """Our command by its full path: sudo searches its own PATH, not the user's."""
    typed = os.path.abspath(sys.argv[0])
    return typed if os.path.basename(typed) == "hostscope" and os.path.exists(typed) else "hostscope"


def _every_process() -> Ability:
    state = Security().state()
    if any(gap.field == "hidepid" for gap in state.gaps):
        return Ability("every_process", False, "the options of the /proc mount could not be read")
    if state.hidepid is None:
        return Ability("every_process", True, "/proc hides no process from us")
    if state.hidepid == "noaccess":
        told = "/proc is mounted with hidepid=noaccess: it lists all processes, and refuses to tell of other users'"
        return Ability("every_process", False, told, HIDEPID_REMEDY)
    return Ability("every_process", False, f"/proc is mounted with hidepid={state.hidepid}", HIDEPID_REMEDY)


def _pidfd() -> Ability:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as failed:
        return Ability(
            "pidfd", False, f"pidfd_open: {failed.strerror} (Linux 5.3 has it; old seccomp profiles refuse it)"
        )
    return Ability("pidfd", True, "processes can be held without mistaking a reused pid")


def _container_state(we: Ourselves) -> Ability:
    present = [path for path in CONTAINER_STATE if os.path.lexists(path)]
    # Root-only directories open to CAP_DAC_READ_SEARCH, which collecting raises.
    raisable = not _lacking(we.permitted, ("dac_read_search",))
    closed = [] if raisable else [path for path in present if not os.access(path, os.R_OK | os.X_OK)]
    if closed:
        remedy = enabling(we, ("dac_read_search",))
        return Ability("container_state", False, f"names and images: cannot read {' '.join(closed)}", remedy)
    found = f"state found in {' '.join(present)}" if present else "no runtime's state on this host"
    return Ability("container_state", True, f"names and images of containers: {found}")


def _service_manager() -> Ability:
    if not os.path.isdir("/run/systemd/system"):
        return Ability("services", False, "systemd does not run here")
    if not os.access(SYSTEM_BUS, os.R_OK | os.W_OK):
        return Ability("services", False, f"no access to {SYSTEM_BUS}", "install and start dbus")
    return Ability("services", True, f"units by {SYSTEM_BUS}")


def _package_database() -> Ability:
    found = [path for path in PACKAGE_DATABASES if os.access(path, os.R_OK)]
    if not found:
        return Ability("packages", False, "neither a dpkg nor an rpm database can be read")
    return Ability("packages", True, f"owner packages by {' '.join(found)}")


def _capture_filters() -> Ability:
    from hostscope.platforms.linux.native import pcap

    try:
        return Ability("capture_filters", True, f"filters for captured packets: {pcap.version()}")
    except Unavailable as missing:
        return Ability("capture_filters", False, missing.message, missing.hint)


def _pressure() -> Ability:
    try:
        read_file("/proc/pressure/cpu")
    except OSError as failed:
        remedy = "boot with psi=1 (Linux 4.20, CONFIG_PSI)"
        return Ability("pressure", False, f"pressure stall information: {failed.strerror}", remedy)
    return Ability("pressure", True, "pressure stall information")


def _audit_trail(trail: AuditTrail) -> Ability:
    obstacle = trail.obstacle()
    if obstacle:
        return Ability("audit_trail", False, obstacle, "export HOSTSCOPE_AUDIT=FILE, in a directory of your own")
    return Ability("audit_trail", True, f"uses of privilege are recorded in {trail.path}")
