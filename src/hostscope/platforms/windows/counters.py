"""The host's counters: the kernel's own, disks by performance counters, and any counter by its English name."""

import time
from collections.abc import Iterator

from hostscope.errors import Unavailable, UsageError
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import DiskCounters, HostCounters, NamedCounter
from hostscope.model.text import decode_str
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.attempts import attempt, value_of
from hostscope.platforms.windows.clock import TICK_NS
from hostscope.platforms.windows.native import ntdll, pdh, performance
from hostscope.platforms.windows.parse_counters import parse_page_files, parse_switches, parse_times
from hostscope.platforms.windows.process_list import read_processes

RUNNABLE = (1, 2, 3)
"""States of threads: ready, running, standby."""
DISKS = {
    "reads": "\\PhysicalDisk(*)\\Disk Reads/sec",
    "read_bytes": "\\PhysicalDisk(*)\\Disk Read Bytes/sec",
    "read_time_ns": "\\PhysicalDisk(*)\\% Disk Read Time",
    "writes": "\\PhysicalDisk(*)\\Disk Writes/sec",
    "written_bytes": "\\PhysicalDisk(*)\\Disk Write Bytes/sec",
    "write_time_ns": "\\PhysicalDisk(*)\\% Disk Write Time",
    "busy_ns": "\\PhysicalDisk(*)\\% Disk Time",
}
"""Fields of `DiskCounters` and the counters whose raw values are their sums since the disk was first counted."""
_SUM_OF_ALL = "_Total"
_NOT_COUNTED = Gap("processes_created", Reason.UNSUPPORTED, "Windows does not count the processes that it started")
_UNKNOWN = frozenset({pdh.PDH_CSTATUS_NO_OBJECT, pdh.PDH_CSTATUS_NO_COUNTER, pdh.PDH_CSTATUS_BAD_COUNTERNAME})


class Counters:
    """Implements `hostscope.platforms.base.Counters`."""

    def read(self) -> HostCounters:
        """The counters now. Load averages and pressure do not apply: Windows keeps none.

        Raises:
            Denied, NativeError, Unavailable: processor times or memory cannot be read.

        Source: NtQuerySystemInformation, GlobalMemoryStatusEx, GetPerformanceInfo, PDH (disks).
        """
        gaps = [_NOT_COUNTED]
        try:
            times = parse_times(ntdll.query_system(performance.SystemProcessorPerformanceInformation)[0])
            memory, pages = performance.memory_status(), performance.performance()
        except OSError as failed:
            raise translate.error(getattr(failed, "call", "host counters"), failed) from failed
        except ValueError as nonsense:
            raise Unavailable(f"host counters: {nonsense}") from nonsense
        swap = value_of(attempt("swap_total_bytes", _page_files), gaps)
        return HostCounters(
            at_ns=time.time_ns(),
            cpu_user_ns=times.user * TICK_NS,
            cpu_system_ns=times.system * TICK_NS,
            cpu_idle_ns=times.idle * TICK_NS,
            cpu_iowait_ns=None,
            cpu_steal_ns=None,
            cpu_count=performance.processors(),
            load_1m=None,
            load_5m=None,
            load_15m=None,
            processes_running=value_of(attempt("processes_running", _runnable), gaps),
            processes_created=None,
            context_switches=value_of(attempt("context_switches", _switches), gaps),
            memory_total_bytes=memory.ullTotalPhys,
            memory_available_bytes=memory.ullAvailPhys,
            memory_free_bytes=memory.ullAvailPhys,
            memory_cached_bytes=pages.SystemCache * pages.PageSize,
            swap_total_bytes=swap and swap[0] * pages.PageSize,
            swap_free_bytes=swap and (swap[0] - swap[1]) * pages.PageSize,
            pressure_cpu=None,
            pressure_memory=None,
            pressure_io=None,
            disks=value_of(attempt("disks", read_disks), gaps) or (),
            gaps=tuple(gaps),
        )

    def named(self, paths: tuple[str, ...], interval_s: float) -> Iterator[NamedCounter]:
        """Counters by their English names, such as ``\\Processor(*)\\% Processor Time``; asterisks for instances.

        Rates are taken over `interval_s`, in which nothing else happens.

        Raises:
            UsageError: there is no counter of that name.
            Denied, NativeError, Unsupported

        Source: performance data helper (PDH).
        """
        try:
            with pdh.opened_query() as query:
                counters = [(path, _add(query, path)) for path in paths]
                pdh.collect(query)
                time.sleep(interval_s)
                pdh.collect(query)
                found = [row for path, counter in counters for row in _values(path, counter)]
        except OSError as failed:
            raise translate.error(getattr(failed, "call", "PDH"), failed) from failed
        yield from found


def _add(query: int, path: str) -> int:
    try:
        return pdh.add_counter(query, path)
    except OSError as failed:
        if getattr(failed, "winerror", None) in _UNKNOWN:
            hint = "names are English ones, such as '\\Memory\\Available Bytes'; typeperf -q lists them"
            raise UsageError(f"there is no counter '{path}'", hint) from failed
        raise


def _values(path: str, counter: int) -> Iterator[NamedCounter]:
    several = "*" in path
    try:
        found = pdh.values(counter) if several else [("", *pdh.value(counter))]
    except OSError as failed:
        yield NamedCounter(path, None, None, (translate.gap("value", failed),))
        return
    for instance, value, status in found:
        gaps = () if value is not None else (Gap("value", Reason.UNAVAILABLE, f"PDH status 0x{status:08X}"),)
        yield NamedCounter(path, decode_str(instance) if several else None, value, gaps)


def read_disks() -> tuple[DiskCounters, ...]:
    """Physical disks since they were first counted.

    Raises:
        SystemRefused, Unsupported
    """
    sums: dict[str, dict[str, int]] = {}
    with pdh.opened_query() as query:
        counters = {field: pdh.add_counter(query, path) for field, path in DISKS.items()}
        pdh.collect(query)
        for field, counter in counters.items():
            for instance, value in pdh.raw_values(counter):
                sums.setdefault(decode_str(instance), {})[field] = value * (TICK_NS if field.endswith("_ns") else 1)
    whole = {name: fields for name, fields in sums.items() if fields.keys() == DISKS.keys() and name != _SUM_OF_ALL}
    return tuple(DiskCounters(name=name, **fields) for name, fields in sorted(whole.items()))


def _runnable() -> int:
    """Threads that run or could, those that every processor has for being idle apart."""
    states = b"".join(listed.thread_states()[0] for listed in read_processes() if listed.pid)
    return sum(states.count(state) for state in RUNNABLE)


def _switches() -> int:
    return parse_switches(ntdll.query_system(performance.SystemPerformanceInformation)[0])


def _page_files() -> tuple[int, int]:
    return parse_page_files(ntdll.query_system(performance.SystemPageFileInformation)[0])
