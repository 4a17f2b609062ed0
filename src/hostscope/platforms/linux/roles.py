"""What a process is to its host: recognised by its file, its user and its unit, all of which only root can arrange.

A name proves nothing: anybody can call a process ``sshd``, rename it with prctl(2), put an executable of that name
under /tmp, or bind-mount one over /usr/sbin/sshd in a mount namespace of their own. So three things must agree:

1. The running image (/proc/PID/exe, not its path) belongs to root and only root may write it, and it is the very file
   (device and inode) that stands at a path which the distribution uses for the program, in our mount namespace. After
   an upgrade that file is another one; then the unit alone has to tell.
2. It runs as root or as the account that is made for it.
3. Where there is a service manager, its control group is that of the program's unit: only root places it there. Where
   there is none (small containers, some embedded hosts), it must be a direct child of PID 1.
"""

import os
import stat
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import NamedTuple

from hostscope.model.process import Process
from hostscope.model.response import Role
from hostscope.model.text import encode

ANYONE = ("*",)
ROOT = ("root",)


class Image(NamedTuple):
    """What is known of a running image."""

    owner: int
    mode: int
    at_path: bool
    """It is the file that stands at its path in our mount namespace."""

    @property
    def trusted(self) -> bool:
        """Whether only root could have written it."""
        return self.owner == 0 and not self.mode & (stat.S_IWGRP | stat.S_IWOTH)


class Known(NamedTuple):
    """A program that hosts depend on."""

    role: str
    paths: tuple[str, ...]
    """Patterns, without a leading ``/usr``: ``/lib`` and ``/usr/lib`` are one on most distributions."""
    units: tuple[str, ...] = ()
    """Patterns of the units that run it as a service; none: whatever its unit is, such a process is a service."""
    users: tuple[str, ...] = ROOT
    session: bool = False
    """It carries logins or terminals."""
    service: bool = True
    clients: bool = False
    """As in `Role`."""


_LIBEXEC = ("/lib", "/libexec", "/lib64")


def _in(folders: tuple[str, ...], *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for folder in folders for name in names)


_BIN = ("/bin", "/sbin", "/local/bin", "/local/sbin")

KNOWN: tuple[Known, ...] = (
    Known("init system", (*_in(("/lib/systemd", "/lib/systemd/bin"), "systemd"), *_in(("/sbin",), "init", "openrc-init",
          "runit", "s6-svscan", "dinit")), ("init.scope",)),
    Known("service manager of a user", ("/lib/systemd/systemd",), ("user@*.service", "init.scope"), ANYONE),
    Known("journal", ("/lib/systemd/systemd-journald",), ("systemd-journald*.service",)),
    Known("login manager", ("/lib/systemd/systemd-logind", *_in(("/libexec", "/lib/elogind"), "elogind")),
          ("systemd-logind.service", "elogind.service")),
    Known("device manager", (*_in(("/lib/systemd", "/sbin", "/bin"), "systemd-udevd", "udevd", "udevadm"),),
          ("systemd-udevd*.service", "udev.service")),
    Known("name resolution", ("/lib/systemd/systemd-resolved",), ("systemd-resolved.service",),
          ("root", "systemd-resolve")),
    Known("network", (*_in(("/lib/systemd",), "systemd-networkd"), *_in(_BIN, "NetworkManager", "dhclient", "dhcpcd",
          "wpa_supplicant", "wicked", "connmand", "iwd"), *_in(_LIBEXEC, "iwd")),
          ("systemd-networkd*.service", "NetworkManager*.service", "networking.service", "dhcpcd*.service",
           "dhclient*.service", "wpa_supplicant*.service", "wicked*.service", "connman.service", "iwd.service",
           "ifup@*.service"), ("root", "systemd-network", "dhcpcd")),
    Known("firewall", (*_in(_BIN, "firewalld", "python3*"),), ("firewalld.service",)),
    Known("message bus", _in(_BIN, "dbus-daemon", "dbus-broker", "dbus-broker-launch"),
          ("dbus.service", "dbus-broker.service", "messagebus.service"), ("root", "messagebus", "dbus")),
    Known("authorisation", _in(("/lib/polkit-1", "/libexec", "/lib/policykit-1"), "polkitd"),
          ("polkit.service",), ("root", "polkitd")),
    Known("ssh server", (*_in(_BIN, "sshd", "dropbear"), *_in(("/lib/openssh", "/libexec/openssh", "/lib/ssh"),
          "sshd-session", "sshd-auth")),
          ("ssh.service", "sshd.service", "ssh@*.service", "sshd@*.service", "dropbear*.service"), session=True),
    Known("login", (*_in(_BIN, "login", "agetty"),), ("getty@*.service", "serial-getty@*.service", "console-getty*"),
          session=True),
    Known("terminal multiplexer", _in(_BIN, "tmux", "screen", "zellij", "dtach", "abduco", "mosh-server"), (), ANYONE,
          session=True, service=False, clients=True),
    Known("remote shell", _in(_BIN, "su", "sudo", "doas"), (), ANYONE, session=True, service=False),
    Known("display server", (*_in((*_BIN, *_LIBEXEC, "/lib/xorg"), "Xorg", "X", "Xwayland", "gnome-shell",
          "kwin_wayland", "kwin_x11", "sway", "weston", "mutter", "cosmic-comp", "Hyprland", "labwc"),), (), ANYONE),
    Known("display manager", (*_in((*_BIN, *_LIBEXEC, "/lib/gdm3"), "gdm", "gdm3", "sddm", "lightdm", "lxdm",
          "gdm-session-worker", "gdm-wayland-session", "gdm-x-session", "greetd"),), (), ANYONE),
    Known("container runtime", _in(_BIN, "dockerd", "containerd", "crio", "podman", "lxcfs", "lxd", "incusd", "k3s",
          "kubelet"), ("docker.service", "containerd.service", "crio.service", "podman.service", "lxcfs.service",
          "lxd.service", "snap.lxd.daemon.service", "incus.service", "k3s*.service", "kubelet.service")),
    Known("container monitor", (*_in((*_BIN, *_LIBEXEC, "/libexec/podman", "/libexec/crio"), "containerd-shim",
          "containerd-shim-runc-v1", "containerd-shim-runc-v2", "conmon", "conmonrs", "lxc-start"),), (), ANYONE),
    Known("virtual machines", _in(_BIN, "libvirtd", "virtqemud", "virtlogd"),
          ("libvirtd.service", "virtqemud.service", "virtlogd.service")),
    Known("storage", (*_in(_BIN, "dmeventd", "lvmetad", "multipathd", "iscsid", "mdadm", "mount.ntfs-3g"),),
          ("lvm2-monitor.service", "dm-event.service", "lvm2-lvmetad.service", "multipathd.service", "iscsid.service",
           "mdmonitor.service")),
    Known("clock", (*_in(_BIN, "chronyd", "ntpd"), "/lib/systemd/systemd-timesyncd"),
          ("chronyd.service", "chrony.service", "ntp*.service", "systemd-timesyncd.service"),
          ("root", "chrony", "_chrony", "ntp", "ntpsec", "systemd-timesync")),
    Known("audit", _in(_BIN, "auditd", "rsyslogd", "syslog-ng"),
          ("auditd.service", "rsyslog.service", "syslog-ng.service"), ("root", "syslog")),
    Known("guest agent", _in(_BIN, "qemu-ga", "vmtoolsd", "google_guest_agent", "hv_kvp_daemon", "amazon-ssm-agent"),
          ("qemu-guest-agent.service", "open-vm-tools.service", "vmtoolsd.service", "google-guest-agent.service",
           "hv-kvp-daemon.service", "amazon-ssm-agent.service")),
    Known("security agent", (
        "/opt/CrowdStrike/falcon-sensor*", "/opt/sentinelone/bin/sentinelone-agent", "/opt/microsoft/mdatp/sbin/*",
        "/opt/osquery/bin/osqueryd", "/bin/osqueryd", "/bin/falco", "/bin/wazuh-agentd", "/var/ossec/bin/*",
        "/opt/carbonblack/psc/bin/cbagentd", "/opt/Elastic/*", "/share/elastic-agent/*", "/opt/sysmon/sysmon",
        "/opt/ds_agent/ds_agent", "/opt/Tanium/TaniumClient/TaniumClient", "/opt/velociraptor/bin/velociraptor*",
    ), (), ("root", "wazuh", "ossec", "osquery")),
)  # fmt: skip
"""In the order in which they are tried. Paths as Debian, Fedora, SUSE, Arch and Alpine have them."""


def read_image(pid: int, path: str) -> Image:
    """The running image. Source: stat(2) through /proc/PID/exe, which no path can stand for.

    Raises:
        OSError: EACCES without ptrace access, ENOENT for a process without an image.
    """
    running = os.stat(f"/proc/{pid}/exe")
    try:
        there = os.stat(encode(path))
    except OSError:
        return Image(running.st_uid, running.st_mode, False)
    same = (running.st_dev, running.st_ino) == (there.st_dev, there.st_ino)
    return Image(running.st_uid, running.st_mode, same)


def recognise(process: Process, image: Image | None) -> Role | None:
    """The role, or None for everything that is not proven; a process in a container has none for the host."""
    if image is None or process.exe is None or process.exe.memfd or process.container or not image.trusted:
        return None
    for known in _candidates(process.exe.path):
        role = _as(known, process, image) if _runs_as(process, known.users) else None
        if role:
            return role
    return None


@lru_cache(maxsize=1024)
def _candidates(path: str) -> tuple[Known, ...]:
    """What a file at this path may be; a tree is judged while it forks, so this must be quick."""
    below = path.removeprefix("/usr")
    return tuple(known for known in KNOWN if any(fnmatchcase(below, pattern) for pattern in known.paths))


def _as(known: Known, process: Process, image: Image) -> Role | None:
    unit = _unit(process, known)
    if not image.at_path and (unit is None or process.service is None or process.service.user is not None):
        return None  # another file of this name; only root places processes in units, but for those of a user's manager
    service = known.service and _is_service(known, process, unit)
    if not service and not known.session:
        return None
    exe = process.exe.path if process.exe else ""
    facts = [f"runs {exe}, which only root can write", f"as {_user(process)}"]
    facts += [f"in {unit}"] if unit else []
    return Role(known.role, service, known.session, ", ".join(facts), known.clients)


def _is_service(known: Known, process: Process, unit: str | None) -> bool:
    if not known.units or unit is not None:
        return True
    return process.service is None and process.ppid in (0, 1) and not _has_service_manager()


def _unit(process: Process, known: Known) -> str | None:
    """The unit of the system's manager that runs it, when that is one of the program's own."""
    service = process.service
    if service is None or (service.user is not None and known.users != ANYONE):
        return None
    return service.name if any(fnmatchcase(service.name, unit) for unit in known.units) else None


def _runs_as(process: Process, users: tuple[str, ...]) -> bool:
    if users == ANYONE:
        return True
    owner = process.owner
    return owner is not None and (owner.id == "0" or (owner.name or "") in users)


def _user(process: Process) -> str:
    owner = process.owner
    return (owner.name or owner.id) if owner else "an unknown user"


@cache
def _has_service_manager() -> bool:
    """Whether systemd runs this host (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")
