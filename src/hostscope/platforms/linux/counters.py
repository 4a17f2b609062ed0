"""The host's counters. Source: /proc/stat, meminfo, loadavg, diskstats, pressure.

In a container they are the whole host's (unless something like lxcfs stands in for the files).
"""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from hostscope.errors import Unavailable, Unsupported
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import DiskCounters, HostCounters, NamedCounter, Pressure
from hostscope.platforms.linux.clock import TICK_NS
from hostscope.platforms.linux.hostfiles import read_or_gap
from hostscope.platforms.linux.parse_host import (
    Cpus,
    parse_cpus,
    parse_disks,
    parse_loadavg,
    parse_meminfo,
    parse_pressure,
)

Parsed = TypeVar("Parsed")


class Counters:
    """Implements `hostscope.platforms.base.Counters`."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def read(self) -> HostCounters:
        """The counters now.

        Raises:
            Unavailable: /proc/stat or /proc/meminfo cannot be read or parsed (/proc mounted with subset=pid).

        Cost: seven files, three to four system calls each.
        """
        gaps: list[Gap] = []
        cpus, memory = self._needed("stat", parse_cpus), self._needed("meminfo", parse_meminfo)
        loads = self._optional("loadavg", ("load_1m", "load_5m", "load_15m"), parse_loadavg, gaps)
        disks = self._optional("diskstats", ("disks",), parse_disks, gaps)
        pressure = [self._pressure(name, gaps) for name in ("cpu", "memory", "io")]
        try:
            return _counters(cpus, memory, loads or (None, None, None), pressure=pressure, disks=disks or (), gaps=gaps)
        except KeyError as missing:
            raise Unavailable(f"{self._proc}/meminfo has no {missing.args[0]}") from missing

    def named(self, paths: tuple[str, ...], interval_s: float) -> Iterator[NamedCounter]:
        """Not on this system."""
        raise Unsupported("Linux has no counters by name", "read /proc and /sys, or `hostscope counters`")

    def _needed(self, name: str, parse: Callable[[bytes], Parsed]) -> Parsed:
        gaps: list[Gap] = []
        found = self._optional(name, (name,), parse, gaps)
        if found is None:
            hint = "is /proc mounted with subset=pid?"
            raise Unavailable(f"host counters: {gaps[0].detail}", hint)
        return found

    def _optional(
        self, name: str, fields: tuple[str, ...], parse: Callable[[bytes], Parsed], gaps: list[Gap]
    ) -> Parsed | None:
        path, unread = f"{self._proc}/{name}", list[Gap]()
        raw = read_or_gap(path, name, unread)
        try:
            return None if raw is None else parse(raw)
        except ValueError as failed:
            unread.append(Gap(name, Reason.UNAVAILABLE, f"{path}: {failed}"))
            return None
        finally:
            gaps += (Gap(field, gap.reason, gap.detail) for gap in unread for field in fields)

    def _pressure(self, name: str, gaps: list[Gap]) -> Pressure | None:
        return self._optional(f"pressure/{name}", (f"pressure_{name}",), parse_pressure, gaps)


def _counters(
    cpus: Cpus,
    memory: dict[str, int],
    loads: tuple[float | None, float | None, float | None],
    *,
    pressure: list[Pressure | None],
    disks: tuple[DiskCounters, ...],
    gaps: list[Gap],
) -> HostCounters:
    return HostCounters(
        at_ns=time.time_ns(),
        cpu_user_ns=cpus.user * TICK_NS,
        cpu_system_ns=cpus.system * TICK_NS,
        cpu_idle_ns=cpus.idle * TICK_NS,
        cpu_iowait_ns=cpus.iowait * TICK_NS,
        cpu_steal_ns=cpus.steal * TICK_NS,
        cpu_count=cpus.count,
        load_1m=loads[0],
        load_5m=loads[1],
        load_15m=loads[2],
        processes_running=cpus.running,
        processes_created=cpus.created,
        context_switches=cpus.context_switches,
        memory_total_bytes=memory["MemTotal"],
        memory_available_bytes=memory.get("MemAvailable"),
        memory_free_bytes=memory["MemFree"],
        memory_cached_bytes=memory.get("Cached"),
        swap_total_bytes=memory["SwapTotal"],
        swap_free_bytes=memory["SwapFree"],
        pressure_cpu=pressure[0],
        pressure_memory=pressure[1],
        pressure_io=pressure[2],
        disks=disks,
        gaps=tuple(gaps),
    )
