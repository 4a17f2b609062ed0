"""The host's counters. Source: host_statistics64, host_processor_info; sysctl vm.loadavg, vm.swapusage, hw.memsize."""

import struct
import time
from collections.abc import Iterator

from hostscope.errors import Unavailable, Unsupported
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import HostCounters, NamedCounter
from hostscope.platforms.macos.native import host_statistics, sysctls
from hostscope.platforms.macos.native.mach import KernFailure
from hostscope.platforms.macos.translate import error, gap

TICK_NS = 10_000_000
"""Mach counts a hundred ticks a second for each processor."""
UNSUPPORTED = (
    Gap("cpu_iowait_ns", Reason.UNSUPPORTED, "macOS counts waiting for disks as idle"),
    Gap("cpu_steal_ns", Reason.UNSUPPORTED, "macOS does not tell what a hypervisor took"),
    Gap("processes_running", Reason.UNSUPPORTED, "macOS' list of processes does not tell"),
    Gap("processes_created", Reason.UNSUPPORTED, "macOS does not count them"),
    Gap("context_switches", Reason.UNSUPPORTED, "macOS counts them for each process only"),
    Gap("disks", Reason.UNSUPPORTED, "only IOKit's registry has them, which is not read"),
)
_LOADS, _SWAP = struct.Struct("<3I4xq"), struct.Struct("<QQ")
"""struct loadavg, and the beginning of struct xsw_usage; `native.sysctls` has both whole."""
Loads = tuple[float | None, float | None, float | None]


class Counters:
    """Implements `hostscope.platforms.base.Counters`."""

    def read(self) -> HostCounters:
        """The counters now. Cost: six calls.

        Available memory is what is free or inactive: an estimate, as the kernel names none. Cached is what has a file
        behind it.

        Raises:
            Unavailable: Mach does not tell the processors' or the memory's. NativeError
        """
        gaps: list[Gap] = []
        try:
            memory, processors = host_statistics.read_memory(), host_statistics.read_processors()
        except KernFailure as failed:
            raise Unavailable(f"host counters: {failed}") from failed
        page, total = _number("hw.pagesize"), _number("hw.memsize")
        user, system, idle, nice = (sum(one[place] for one in processors) * TICK_NS for place in range(4))
        loads, swap = _loads(gaps), _swap(gaps)
        return HostCounters(
            at_ns=time.time_ns(),
            cpu_user_ns=user + nice,
            cpu_system_ns=system,
            cpu_idle_ns=idle,
            cpu_iowait_ns=None,
            cpu_steal_ns=None,
            cpu_count=len(processors),
            load_1m=loads[0],
            load_5m=loads[1],
            load_15m=loads[2],
            processes_running=None,
            processes_created=None,
            context_switches=None,
            memory_total_bytes=total,
            memory_available_bytes=(memory.free_count + memory.inactive_count) * page,
            memory_free_bytes=(memory.free_count - memory.speculative_count) * page,
            memory_cached_bytes=memory.external_page_count * page,
            swap_total_bytes=swap[0],
            swap_free_bytes=swap[1],
            pressure_cpu=None,
            pressure_memory=None,
            pressure_io=None,
            disks=(),
            gaps=(*UNSUPPORTED, *gaps),
        )

    def named(self, paths: tuple[str, ...], interval_s: float) -> Iterator[NamedCounter]:
        """Not on this system."""
        raise Unsupported("macOS has no counters by name", "sysctl -a lists what the kernel tells by name")


def _number(name: str) -> int:
    try:
        return int.from_bytes(sysctls.read_name(name), "little")
    except OSError as failed:
        raise error(f"sysctl {name}", failed) from failed


def _loads(gaps: list[Gap]) -> Loads:
    raw = _structure("vm.loadavg", _LOADS.size, ("load_1m", "load_5m", "load_15m"), gaps)
    if raw is None:
        return None, None, None
    one, five, fifteen, scale = _LOADS.unpack_from(raw)
    scale = scale or 1
    return one / scale, five / scale, fifteen / scale


def _swap(gaps: list[Gap]) -> tuple[int | None, int | None]:
    """Total and free bytes; macOS makes swap files as it needs them."""
    raw = _structure("vm.swapusage", _SWAP.size, ("swap_total_bytes", "swap_free_bytes"), gaps)
    if raw is None:
        return None, None
    total, free = _SWAP.unpack_from(raw)
    return total, free


def _structure(name: str, size: int, fields: tuple[str, ...], gaps: list[Gap]) -> bytes | None:
    """A value of at least so many bytes, or a gap for each field that comes of it."""
    try:
        raw = sysctls.read_name(name)
    except OSError as failed:
        gaps += (gap(field, failed) for field in fields)
        return None
    if len(raw) >= size:
        return raw
    gaps += (Gap(field, Reason.UNAVAILABLE, f"sysctl {name} gave {len(raw)} bytes") for field in fields)
    return None
