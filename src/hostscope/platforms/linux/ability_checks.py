"""What hostscope can do here that is no question of privileges alone: mounts, runtimes, buses, libraries, files."""

import os

from hostscope.audit import AuditTrail
from hostscope.errors import Unavailable
from hostscope.model.host import Ability
from hostscope.platforms.linux.read import read_file
from hostscope.platforms.linux.security import Security

CONTAINER_STATE = (
    "/var/lib/docker/containers", "/run/containerd/io.containerd.runtime.v2.task", "/var/lib/containers/storage",
    "/run/crio", "/var/lib/lxc", "/run/systemd/machines",
)  # fmt: skip
"""Where runtimes keep the state that names come from."""
SYSTEM_BUS = "/run/dbus/system_bus_socket"
HIDEPID_REMEDY = "mount -o remount,hidepid=off /proc, or CAP_SYS_PTRACE"
AUDIT_REMEDY = "export HOSTSCOPE_AUDIT=FILE, in a directory of your own"
PACKAGE_DATABASES = ("/var/lib/dpkg/status", "/var/lib/rpm", "/usr/lib/sysimage/rpm")


def every_process() -> Ability:
    """Whether /proc lists all."""
    state = Security().state()
    if any(gap.field == "hidepid" for gap in state.gaps):
        return Ability("every_process", False, "the options of the /proc mount could not be read")
    if state.hidepid is None:
        return Ability("every_process", True, "/proc hides no process from us")
    if state.hidepid == "noaccess":
        told = "/proc is mounted with hidepid=noaccess: it lists all processes, and refuses to tell of other users'"
        return Ability("every_process", False, told, HIDEPID_REMEDY, "other users' processes have no rows")
    told = f"/proc is mounted with hidepid={state.hidepid}"
    return Ability("every_process", False, told, HIDEPID_REMEDY, "other users' processes do not show")


def pidfd() -> Ability:
    """Whether a process can be held."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as failed:
        told = f"pidfd_open: {failed.strerror} (Linux 5.3 has it; old seccomp profiles refuse it)"
        return Ability("pidfd", False, told, lost="no acts: a reused pid could be hit")
    return Ability("pidfd", True, "processes can be held without mistaking a reused pid")


def container_state(raisable: bool, remedy: str) -> Ability:
    """`raisable`: root-only directories open to CAP_DAC_READ_SEARCH, which collecting raises."""
    present = [path for path in CONTAINER_STATE if os.path.lexists(path)]
    closed = [] if raisable else [path for path in present if not os.access(path, os.R_OK | os.X_OK)]
    if closed:
        told, lost = f"names and images: cannot read {' '.join(closed)}", "containers are known by number only"
        return Ability("container_state", False, told, remedy, lost, ("dac_read_search",))
    found = f"state found in {' '.join(present)}" if present else "no runtime's state on this host"
    return Ability("container_state", True, f"names and images of containers: {found}")


def service_manager() -> Ability:
    """Whether systemd can be asked."""
    if not os.path.isdir("/run/systemd/system"):
        return Ability("services", False, "systemd does not run here", lost="no services")
    if not os.access(SYSTEM_BUS, os.R_OK | os.W_OK):
        return Ability("services", False, f"no access to {SYSTEM_BUS}", "install and start dbus", "no services")
    return Ability("services", True, f"units by {SYSTEM_BUS}")


def package_database() -> Ability:
    """Whether the owners of files can be found."""
    found = [path for path in PACKAGE_DATABASES if os.access(path, os.R_OK)]
    if not found:
        return Ability("packages", False, "neither a dpkg nor an rpm database can be read", lost="no owner packages")
    return Ability("packages", True, f"owner packages by {' '.join(found)}")


def capture_filters() -> Ability:
    """Whether filter expressions can be read."""
    from hostscope.platforms.linux.native import pcap

    try:
        return Ability("capture_filters", True, f"filters for captured packets: {pcap.version()}")
    except Unavailable as missing:
        return Ability("capture_filters", False, missing.message, missing.hint, "no capture --bpf, and no dns --watch")


def pressure() -> Ability:
    """Whether the kernel keeps it."""
    try:
        read_file("/proc/pressure/cpu")
    except OSError as failed:
        remedy = "boot with psi=1 (Linux 4.20, CONFIG_PSI)"
        return Ability(
            "pressure", False, f"pressure stall information: {failed.strerror}", remedy, "no pressure counters"
        )
    return Ability("pressure", True, "pressure stall information")


def audit_trail(trail: AuditTrail) -> Ability:
    """Whether uses of privilege can be written down."""
    obstacle = trail.obstacle()
    if obstacle:
        return Ability("audit_trail", False, obstacle, AUDIT_REMEDY, "no acts; looking goes unrecorded")
    return Ability("audit_trail", True, f"uses of privilege are recorded in {trail.path}")
