"""What is particular to macOS."""

from msgspec import Struct


class Fact(Struct, frozen=True, gc=False):
    """A value with what told it."""

    value: str
    method: str
    """``kernel``, ``verified signature`` or ``heuristic``."""


class Methods(Struct, frozen=True, gc=False):
    """What told a process's security values that are no `Fact`: ``kernel``; None where there is no value."""

    signing: str | None = None
    entitlements: str | None = None
    sandboxed: str | None = None
    responsible_pid: str | None = None
    debuggable: str | None = None
    """Of the facts that it is derived from."""
    security: str | None = None
    """Of the ids, the sandbox and the protection that the process's powers are derived from."""


class Entitlement(Struct, frozen=True, gc=False):
    """One entitlement."""

    name: str
    value: str
    """As JSON."""


class Bundle(Struct, frozen=True, gc=False):
    """The bundle that an executable belongs to. Source: Info.plist."""

    path: str
    identifier: str | None
    name: str | None
    version: str | None
    """CFBundleShortVersionString."""
    build: str | None
    """CFBundleVersion."""
    agent: bool | None
    """LSUIElement: no icon in the Dock."""
    provisioned: bool
    """An embedded provisioning profile is there."""


class CodeSigning(Struct, frozen=True, gc=False):
    """What the kernel knows of a process's signature. Source: csops(2)."""

    flags: tuple[str, ...]
    """``valid hardened-runtime library-validation restricted platform-binary debugged get-task-allow …``."""
    cdhash: str | None = None
    """Hexadecimal."""
    team_id: str | None = None
    identifier: str | None = None


class MacosContext(Struct, frozen=True, gc=False):
    """macOS' own facts about a process."""

    signing: CodeSigning | None = None
    entitlements: tuple[Entitlement, ...] | None = None
    """Empty: it has none. Source: the kernel's own blob (csops CS_OPS_DER_ENTITLEMENTS_BLOB)."""
    sandboxed: bool | None = None
    architecture: str | None = None
    """``arm64 arm64e x86_64 i386``: of its code."""
    translated: bool | None = None
    """Runs under Rosetta."""
    responsible_pid: int | None = None
    """The process whose permissions count for it."""
    coalition: int | None = None
    """Resource coalition id."""
    bundle: Bundle | None = None
    launchd_job: str | None = None
    """Label of the job that it runs for."""
    launchd_job_method: str | None = None
    """``launchctl``, launchd's own word; ``heuristic``: its environment."""
    system_daemon: Fact | None = None
    """Which of the system's own it is, by identity."""
    sip_protected: Fact | None = None
    """Why System Integrity Protection protects it: ``restricted``, ``platform binary``, or its path."""
    debuggable: bool | None = None
    """Whether root could take its task port, derived from the facts above."""
    debuggable_because: tuple[str, ...] | None = None
    """The facts that decided: ``hardened runtime``, ``platform binary``, ``get-task-allow``, and their like."""
    footprint_bytes: int | None = None
    """Physical footprint: what the system charges it for (proc_pid_rusage)."""
    energy_nj: int | None = None
    """Billed energy in nanojoules."""
    guest: str | None = None
    """The virtual machine that it runs, such as ``Docker Desktop``, ``Virtualization.framework``."""
    methods: Methods | None = None
    """What told the security values."""
