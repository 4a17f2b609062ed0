"""What to collect about processes."""

from msgspec import Struct

FIELDS: dict[str, str] = {
    "state": "state and kernel thread flag",
    "exe": "executable, with deleted, replaced and memfd flags",
    "argv": "arguments",
    "cwd": "working directory",
    "root": "root directory",
    "owner": "effective user, and all user and group ids",
    "groups": "supplementary groups",
    "session": "session, process group and terminal",
    "threads": "number of threads",
    "schedule": "policy, priority and nice value",
    "cpu": "processor time",
    "memory": "virtual, resident, shared, swapped and peak memory",
    "memory_detail": "proportional and unique memory (walks page tables: slow)",
    "io": "bytes read and written",
    "open_files": "number of open descriptors",
    "activity": "page faults and context switches",
    "security": "capabilities, no_new_privs, seccomp, login user, tracer, dumpable, and what they allow",
    "lsm": "label of the security module",
    "namespaces": "the eight namespaces",
    "cgroup": "control group, container and service",
    "oom": "OOM score and adjustment",
    "digest": "SHA-256, package and file capabilities of the executable (reads files: slow the first time)",
    "signature": "who signed the executable, and whether it is still what they signed (hashes files: slow)",
    "ancestry": "chain of parents",
}
"""Groups of fields that are collected together, by name."""

BASIC = frozenset({"state", "exe", "argv", "owner", "session", "threads", "schedule", "cpu", "memory"})
"""What `ps` shows unless told otherwise; key, ppid, name and start are always there."""

FULL = BASIC | {
    "cwd", "root", "groups", "io", "activity", "security", "lsm", "namespaces", "cgroup", "oom", "open_files",
}  # fmt: skip
"""Everything that is cheap enough for every process of a host."""

ENHANCED = FULL | {"digest", "ancestry", "memory_detail"}
"""FULL, and what costs file reads or page table walks; `signature`, which judges what it reads, has to be named."""


class LinuxOptions(Struct, frozen=True):
    """Switches that only matter on Linux."""

    container_state: bool = True
    """Read the runtimes' local state for names and images."""


class WindowsOptions(Struct, frozen=True):
    """Switches that only matter on Windows."""

    token_groups: bool = True
    """Names of groups are looked up: those of a domain perhaps over the network."""
    services: bool = True
    """Ask the service control manager which processes host which services."""


class MacosOptions(Struct, frozen=True):
    """Switches that only matter on macOS."""

    collect_code_signing: bool = True
    """Ask the kernel for each process's signature."""
    collect_entitlements: bool = True
    check_sip_protection: bool = True
    collect_bundle_info: bool = True
    """Read the Info.plist of bundles."""
    handle_sandboxed_processes: bool = True
    """Ask whether each process is sandboxed."""
    heuristics: bool = False
    """Fill from paths and names what the kernel does not tell; each such value says so."""


class ProcessRequest(Struct, frozen=True):
    """Which processes and which of their fields to collect."""

    fields: frozenset[str] = BASIC
    """Names from `FIELDS`."""
    enhanced: bool = False
    """Collect `ENHANCED` whatever `fields` says."""
    max_processes: int | None = None
    skip_system_processes: bool = False
    """Leave out kernel threads (Linux) and their like."""
    method: str | None = None
    """Name of a collection method; None chooses."""
    sample_ns: int | None = None
    """Look twice, this far apart, to fill `cpu.ratio`."""
    linux: LinuxOptions = LinuxOptions()
    windows: WindowsOptions = WindowsOptions()
    macos: MacosOptions = MacosOptions()

    @property
    def wanted(self) -> frozenset[str]:
        """The field groups that follow from all options."""
        fields = ENHANCED if self.enhanced else self.fields
        return fields | {"memory"} if "memory_detail" in fields else fields
