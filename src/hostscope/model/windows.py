"""What is particular to Windows."""

from msgspec import Struct


class TokenGroup(Struct, frozen=True, gc=False):
    """One group of a token."""

    sid: str
    name: str | None
    """With its domain, such as ``BUILTIN\\Administrators``; None when nothing knows the SID."""
    attributes: tuple[str, ...]
    """``mandatory default enabled owner deny-only integrity logon-id resource``."""


class TokenPrivilege(Struct, frozen=True, gc=False):
    """One privilege of a token."""

    name: str
    """Such as ``SeDebugPrivilege``."""
    state: str
    """``enabled disabled removed``."""
    by_default: bool = False


class Token(Struct, frozen=True, gc=False):
    """The primary token of a process. Source: GetTokenInformation."""

    user_sid: str | None = None
    user_name: str | None = None
    groups: tuple[TokenGroup, ...] | None = None
    privileges: tuple[TokenPrivilege, ...] | None = None
    elevated: bool | None = None
    elevation: str | None = None
    """``default full limited``: how UAC split this logon; default when it did not."""
    linked: bool | None = None
    """Whether there is a linked token: the other half of a split logon."""
    virtualised: bool | None = None
    """UAC redirects its writes to files and registry."""
    ui_access: bool | None = None
    logon_session: str | None = None
    """LUID as ``high:low`` in hexadecimal."""
    logon_type: str | None = None
    """``interactive network batch service remote-interactive …``; None when the logon session tells nothing."""
    app_container: str | None = None
    """SID of its AppContainer."""
    app_capabilities: tuple[str, ...] | None = None
    """SIDs of its AppContainer's capabilities."""
    restricted: bool | None = None
    impersonating: tuple[int, ...] | None = None
    """Threads that run with another token; None when they were not looked at."""


class Mitigation(Struct, frozen=True, gc=False):
    """One mitigation policy with its flags. Source: GetProcessMitigationPolicy."""

    name: str
    """``dep aslr cfg cet acg signed-only …``."""
    flags: tuple[str, ...]
    """Those that are on; empty when the policy is off."""


class Job(Struct, frozen=True, gc=False):
    """The job a process is in."""

    silo: bool | None
    server_silo: bool | None
    """A Windows container."""
    container_id: str | None
    """GUID of the server silo's container."""
    limits: tuple[str, ...] = ()
    """Such as ``kill-on-close``, ``active-processes``, ``memory``."""


class Charges(Struct, frozen=True, gc=False):
    """What Windows counts besides, in bytes."""

    private_bytes: int | None = None
    """Private committed memory."""
    private_resident_bytes: int | None = None
    """Private working set."""
    commit_bytes: int | None = None
    """Charge to the page file and memory."""
    peak_commit_bytes: int | None = None
    paged_pool_bytes: int | None = None
    nonpaged_pool_bytes: int | None = None


class WindowsContext(Struct, frozen=True, gc=False):
    """Windows' own facts about a process."""

    integrity: str | None = None
    """``untrusted low medium medium-plus high system protected``."""
    protection: str | None = None
    """Protected process type and signer, such as ``ppl-antimalware``, ``pp-wintcb``; ``none``."""
    token: Token | None = None
    critical: bool | None = None
    """Its end stops the system."""
    secure: bool | None = None
    """Runs in isolated user mode (a trustlet)."""
    mitigations: tuple[Mitigation, ...] | None = None
    job: Job | None = None
    """None without a gap: it is in none."""
    architecture: str | None = None
    """``x86 x64 arm64``: of its code."""
    wow64: bool | None = None
    virtual: str | None = None
    """``idle system registry memory-compression secure-system vmmem``: a process without a program of its own."""
    native_path: str | None = None
    """The executable by its device, such as ``\\Device\\HarddiskVolume3\\…``."""
    package: str | None = None
    """Full name of its package (MSIX)."""
    suspended: bool | None = None
    """All threads wait because somebody suspended them."""
    priority: str | None = None
    """``idle below-normal normal above-normal high realtime``."""
    memory: Charges | None = None
    handles: int | None = None
    gdi_objects: int | None = None
    user_objects: int | None = None
    services: tuple[str, ...] | None = None
    """Services that it hosts."""
    service_group: str | None = None
    """Of a service host (svchost -k), by its command line."""
    system_process: str | None = None
    """Which of the system's own processes it is, by path, session, user and flags, such as ``lsass``; never by name
    alone."""
