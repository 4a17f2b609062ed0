"""What Windows counts for a process, as records: from the kernel's list, or asked one by one."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Activity, Cpu, Io, Memory
from hostscope.model.windows import Charges
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.attempts import attempt, value_of
from hostscope.platforms.windows.clock import TICK_NS
from hostscope.platforms.windows.native import ntdll, toolhelp
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.native.library import SystemRefused
from hostscope.platforms.windows.opened import Opened
from hostscope.platforms.windows.parse_processes import Counts, Listed

RUNNING = frozenset(b"\x01\x02\x03\x06\x07")
"""Thread states: ready, running, standby, in transition, deferred ready."""
INITIALIZED, WAITING = 0, 5
SUSPENDED = frozenset(b"\x05\x0c")
"""Wait reasons: Suspended and WrSuspended."""

STORAGE = (
    Gap("io.read_bytes", Reason.UNSUPPORTED, "this list counts what calls read and wrote, not what reached storage"),
    Gap("io.written_bytes", Reason.UNSUPPORTED, "this list counts what calls read and wrote, not what reached storage"),
)
NO_PRIVATE = Gap("windows.memory.private_resident_bytes", Reason.UNSUPPORTED, "not counted by this list or kernel")
NO_HARD_FAULTS = Gap("activity", Reason.UNSUPPORTED, "only the kernel's list tells hard faults from soft ones")
NO_STATES = Gap("state", Reason.UNSUPPORTED, "only the kernel's list tells the states of threads")
UNKNOWN_STATE = Gap("state", Reason.UNAVAILABLE, "the kernel gave no states of threads")


class State(NamedTuple):
    """What its threads do."""

    name: str | None
    """As in `Process.state`."""
    suspended: bool | None


class Facts(Protocol):
    """What can be told of one process, however it is found out; what cannot be is None with a gap."""

    def state(self, gaps: list[Gap]) -> State: ...
    def cpu(self, gaps: list[Gap]) -> Cpu | None: ...
    def memory(self, gaps: list[Gap]) -> tuple[Memory | None, Charges | None]: ...
    def io(self, gaps: list[Gap]) -> Io | None: ...
    def activity(self, gaps: list[Gap]) -> Activity | None: ...
    def handles(self, gaps: list[Gap]) -> int | None: ...
    def session(self, gaps: list[Gap]) -> int | None: ...


class ListedFacts:
    """From an entry of the kernel's list: without a call."""

    def __init__(self, listed: Listed) -> None:
        self._listed = listed
        self._counts: Counts = listed.counts()

    def state(self, gaps: list[Gap]) -> State:
        """Without threads it has ended, and somebody still holds a handle of it; virtual processes apart."""
        found = state_of(*self._listed.thread_states())
        if found is None:
            gaps.append(UNKNOWN_STATE)
            return State(None, None)
        return found

    def cpu(self, _: list[Gap]) -> Cpu:
        return Cpu(self._counts.user_time * TICK_NS, self._counts.kernel_time * TICK_NS)

    def memory(self, gaps: list[Gap]) -> tuple[Memory, Charges]:
        """Shared is what of the working set is not private to it. Windows counts nothing as swapped per process."""
        counts = self._counts
        private = counts.private_resident_bytes if counts.private_resident_bytes or not counts.resident_bytes else None
        if private is None:  # nothing private, with pages in memory: it is not counted
            gaps.append(NO_PRIVATE)
        return (
            Memory(
                counts.virtual_bytes,
                counts.resident_bytes,
                None if private is None else max(counts.resident_bytes - private, 0),
                None,
                counts.peak_virtual_bytes,
                counts.peak_resident_bytes,
            ),
            Charges(
                counts.private_bytes,
                private,
                counts.commit_bytes,
                counts.peak_commit_bytes,
                counts.paged_pool_bytes,
                counts.nonpaged_pool_bytes,
            ),
        )

    def io(self, gaps: list[Gap]) -> Io:
        gaps += STORAGE
        return Io(None, None, self._counts.read_bytes, self._counts.written_bytes)

    def activity(self, _: list[Gap]) -> Activity:
        """Windows counts switches without saying whether they were voluntary."""
        counts = self._counts
        return Activity(max(counts.faults - counts.hard_faults, 0), counts.hard_faults, None, None)

    def handles(self, _: list[Gap]) -> int | None:
        return self._listed.handles

    def session(self, _: list[Gap]) -> int | None:
        return self._listed.session


class AskedFacts:
    """Asked one by one, for a process that Toolhelp lists."""

    def __init__(self, listed: Listed, opened: Opened | None) -> None:
        """`opened`: the process; None for the idle one, of which nothing can be asked."""
        self._pid = listed.pid
        self._opened = opened

    def _handle(self) -> int:
        if self._opened is None:
            raise SystemRefused("OpenProcess", translate.ERROR_NOT_SUPPORTED)
        return self._opened.need()

    def state(self, gaps: list[Gap]) -> State:
        gaps.append(NO_STATES)
        return State(None, None)

    def cpu(self, gaps: list[Gap]) -> Cpu | None:
        found = value_of(attempt("cpu", lambda: native.times(self._handle())), gaps)
        return Cpu(found[3] * TICK_NS, found[2] * TICK_NS) if found else None

    def memory(self, gaps: list[Gap]) -> tuple[Memory | None, Charges | None]:
        """Without the private working set, and so without what is shared."""
        found = value_of(attempt("memory", self._vm_counters), gaps)
        if found is None:
            gaps.append(Gap("windows.memory", gaps[-1].reason, gaps[-1].detail))
            return None, None
        gaps.append(NO_PRIVATE)
        return (
            Memory(
                found.VirtualSize, found.WorkingSetSize, None, None, found.PeakVirtualSize, found.PeakWorkingSetSize
            ),
            Charges(
                found.PrivateUsage,
                None,
                found.PagefileUsage,
                found.PeakPagefileUsage,
                found.QuotaPagedPoolUsage,
                found.QuotaNonPagedPoolUsage,
            ),
        )

    def _vm_counters(self) -> ntdll.VM_COUNTERS_EX:
        found = ntdll.VM_COUNTERS_EX()
        ntdll.query_process(self._handle(), ntdll.ProcessVmCounters, found)
        return found

    def io(self, gaps: list[Gap]) -> Io | None:
        found = value_of(attempt("io", lambda: native.io_counters(self._handle())), gaps)
        if found is None:
            return None
        gaps += STORAGE
        return Io(None, None, found.ReadTransferCount, found.WriteTransferCount)

    def activity(self, gaps: list[Gap]) -> Activity | None:
        gaps.append(NO_HARD_FAULTS)
        return None

    def handles(self, gaps: list[Gap]) -> int | None:
        found = value_of(attempt("open_files", lambda: native.handle_count(self._handle())), gaps)
        if found is None:
            gaps.append(Gap("windows.handles", gaps[-1].reason, gaps[-1].detail))
        return found

    def session(self, gaps: list[Gap]) -> int | None:
        return value_of(attempt("session", native.session_of, self._pid), gaps)


def state_of(states: bytes, reasons: bytes) -> State | None:
    """The state of a process by those of its threads; None where the kernel tells none."""
    if not states:
        return State("zombie", None)
    if not RUNNING.isdisjoint(states):
        return State("running", False)
    if states.count(INITIALIZED) == len(states):
        return None
    waiting = [reason for state, reason in zip(states, reasons, strict=True) if state == WAITING]
    suspended = bool(waiting) and SUSPENDED.issuperset(waiting)
    return State("stopped" if suspended else "sleeping", suspended)


def read_toolhelp() -> Iterator[Listed]:
    """Every process by a Toolhelp snapshot. Raises OSError."""
    for entry in toolhelp.processes():
        yield Listed(entry.pid, entry.ppid, entry.name, None, None, entry.threads, entry.base_priority, None)
