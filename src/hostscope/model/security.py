"""What a process may do: one question, one answer on every system."""

from msgspec import Struct

from hostscope.model.gap import Gap


class Power(Struct, frozen=True, gc=False):
    """One thing a process may or may not do."""

    name: str
    """One of `POWERS`."""
    granted: bool | None
    """None when the facts are not enough to say."""
    because: tuple[str, ...]
    """The facts it was derived from, such as ``cap_net_raw effective`` or ``user namespace is not the host's``."""


class Security(Struct, frozen=True, gc=False):
    """The normalised answer; the facts themselves are in the system's own record."""

    powers: tuple[Power, ...]
    confined_by: tuple[str, ...]
    """What holds it back: ``seccomp``, ``no_new_privs``, ``user namespace``, ``apparmor:…``, ``container``."""

    @property
    def granted(self) -> tuple[str, ...]:
        """Names of the granted powers."""
        return tuple(power.name for power in self.powers if power.granted)


class Antivirus(Struct, frozen=True, gc=False):
    """One product that guards the host, as it registered itself (Windows)."""

    name: str
    kind: str
    """``antivirus antispyware firewall``."""
    enabled: bool | None
    up_to_date: bool | None
    program: str | None
    source: str
    """What told: ``security-center`` (WMI), ``registry`` (what the Security Center keeps there)."""


class Defender(Struct, frozen=True, gc=False):
    """Microsoft Defender, by its settings."""

    real_time: bool | None
    """Real-time protection is not switched off."""
    tamper_protection: bool | None
    passive: bool | None
    """It leaves the guarding to another product."""
    signatures: str | None
    """Version."""
    signatures_at_ns: int | None
    """When they were last updated."""
    platform: str | None
    """Folder of its programs."""
    protected_services: tuple[str, ...]
    """Its services that start as protected processes."""
    exclusions: tuple[str, ...] | None
    """Paths, extensions and processes that it is told to leave alone."""


class HostSecurity(Struct, frozen=True):
    """What holds for every process of the host."""

    yama: int | None = None
    """Linux ptrace_scope (0 to 3); None without Yama."""
    lockdown: str | None = None
    """Linux: ``none integrity confidentiality``."""
    lsms: tuple[str, ...] | None = None
    """Active Linux security modules, in order."""
    hidepid: str | None = None
    """The hidepid option of /proc; None when every process is visible to us."""
    unprivileged_bpf: bool | None = None
    module_loading: bool | None = None
    """Linux: whether the kernel can load modules at all."""
    unprivileged_port_start: int | None = None
    """Linux: first port that anyone may bind, in our own network namespace."""
    uac: str | None = None
    """Windows: ``off never-notify no-dimming default always-notify``; another policy as ``consent N``."""
    lsa_protection: str | None = None
    """Windows: ``off on locked``: whether lsass is to start protected (RunAsPPL); locked by a firmware variable."""
    credential_guard: str | None = None
    """Windows: ``off on locked``, as configured."""
    virtualization_based: bool | None = None
    """Windows: the secure kernel runs beside the ordinary one."""
    protected_code: bool | None = None
    """Windows: the hypervisor enforces code integrity (HVCI, "memory integrity")."""
    secure_boot: bool | None = None
    code_integrity: tuple[str, ...] | None = None
    """Windows: options of code integrity that are on, such as ``enabled test-signing hvci``."""
    driver_signatures: str | None = None
    """Windows: ``enforced``; ``test`` (test certificates do); ``off``."""
    defender: Defender | None = None
    """Windows; None without a gap where it is not installed."""
    antivirus: tuple[Antivirus, ...] | None = None
    """Windows: products that registered with the Security Center."""
    antivirus_health: str | None = None
    """Windows: ``good not-monitored poor snoozed``: what the Security Center says of them together."""
    sip_allows: tuple[str, ...] | None = None
    """macOS: what System Integrity Protection was told to allow, such as ``unrestricted-filesystem``; empty when all of
    it protects. Source: csr_get_active_config."""
    sip_blocks: tuple[str, ...] | None = None
    """macOS: what it therefore blocks, in words."""
    sip_paths: tuple[str, ...] | None = None
    """macOS: what it protects of the file system. Source: the system's own list, rootless.conf."""
    sip_open_paths: tuple[str, ...] | None = None
    """macOS: below those, what that list leaves open."""
    sip_method: str | None = None
    """macOS: what told `sip_allows` and `sip_blocks`: ``kernel``."""
    gaps: tuple[Gap, ...] = ()


POWERS: dict[str, str] = {
    "become_root": "take the identity of any user or the administrator",
    "load_kernel_code": "load modules or drivers",
    "load_bpf": "load eBPF programs that see the whole host",
    "inject_code": "write into other users' processes",
    "read_other_memory": "read other users' processes",
    "bypass_file_permissions": "read and write files in spite of their permissions",
    "raw_network": "send and receive raw packets",
    "administer_network": "change interfaces, routes and the firewall",
    "bind_low_ports": "listen on ports below 1024",
    "administer_system": "mount, change host name, quotas and much more",
    "kill_any": "signal processes of other users",
    "change_time": "set the clock",
    "reboot": "reboot or replace the running kernel",
    "hide_from_audit": "stop or change the audit trail",
}
"""Every power by name, with what it means."""
