"""The host as a whole."""

from msgspec import Struct

from hostscope.model.gap import Gap

COUNTERS_SCHEMA = "hostscope.counters/1"
ABILITY_SCHEMA = "hostscope.ability/1"
NAMED_COUNTER_SCHEMA = "hostscope.named_counter/1"
FINDING_SCHEMA = "hostscope.finding/1"


class HostInfo(Struct, frozen=True):
    """What does not change while the host runs."""

    hostname: str
    system: str
    """``linux windows macos``."""
    os_name: str | None
    """Such as ``Debian GNU/Linux 12 (bookworm)``."""
    kernel: str
    """Release, such as ``6.1.0-18-amd64``."""
    architecture: str
    boot_id: str | None
    booted_at_ns: int
    cpus: int
    memory_bytes: int
    pid_ns: int
    """Our own PID namespace; 0 where there is none."""
    vendor: str | None = None
    """Who made the machine, as its firmware says."""
    model: str | None = None
    """Such as ``MacBookPro18,1``; of a virtual machine what its hypervisor calls itself."""
    gaps: tuple[Gap, ...] = ()


class Pressure(Struct, frozen=True):
    """Pressure stall information of one resource. Source: /proc/pressure."""

    some_10s_ratio: float
    some_60s_ratio: float
    some_300s_ratio: float
    full_10s_ratio: float | None
    full_60s_ratio: float | None
    full_300s_ratio: float | None


class DiskCounters(Struct, frozen=True):
    """One block device since boot. Source: /proc/diskstats."""

    name: str
    reads: int
    read_bytes: int
    read_time_ns: int
    writes: int
    written_bytes: int
    write_time_ns: int
    busy_ns: int


class HostCounters(Struct, frozen=True):
    """The host's counters at one moment."""

    at_ns: int
    cpu_user_ns: int
    cpu_system_ns: int
    cpu_idle_ns: int
    cpu_iowait_ns: int | None
    """Idle while something waited for storage (Linux)."""
    cpu_steal_ns: int | None
    """Taken by the hypervisor (Linux)."""
    cpu_count: int
    load_1m: float | None
    load_5m: float | None
    load_15m: float | None
    processes_running: int | None
    processes_created: int | None
    context_switches: int | None
    memory_total_bytes: int
    memory_available_bytes: int | None
    memory_free_bytes: int
    memory_cached_bytes: int | None
    swap_total_bytes: int | None
    swap_free_bytes: int | None
    pressure_cpu: Pressure | None
    pressure_memory: Pressure | None
    pressure_io: Pressure | None
    disks: tuple[DiskCounters, ...]
    gaps: tuple[Gap, ...] = ()


class NamedCounter(Struct, frozen=True):
    """One of the system's own counters, asked for by its name."""

    path: str
    """As it was asked for, such as ``\\Processor(*)\\% Processor Time``."""
    instance: str | None
    """Which of several; None where there is one only."""
    value: float | None
    """In the counter's own unit; between two looks where it is a rate."""
    gaps: tuple[Gap, ...] = ()


class Ability(Struct, frozen=True):
    """One thing hostscope can do here, or why it cannot."""

    name: str
    available: bool
    detail: str
    """What gives it, or why it is missing."""
    enable: str | None = None
    """The exact way to get it."""
    lost: str | None = None
    """What there is not, or not so well, where it is not available."""
    needs: tuple[str, ...] = ()
    """Privileges by the system's names that it takes."""
    keeps: tuple[str, ...] | None = None
    """Of a command that goes on: the privileges it keeps once its sources are open. None where nothing goes on."""
    unit: str | None = None
    """A service that runs it with these privileges and no others, as the system's service manager reads it."""


class ProcessView(Struct, frozen=True):
    """The pids that one way of looking shows."""

    name: str
    """``iterator listing probe cgroup``."""
    pids: frozenset[int]
    gaps: tuple[Gap, ...] = ()


class Finding(Struct, frozen=True):
    """Something that should not be."""

    rule: str
    severity: str
    """``info low medium high critical``."""
    title: str
    detail: str
    pid: int | None = None
