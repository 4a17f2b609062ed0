"""Time and identity of this boot, fixed once so that all records agree."""

import os
import time
from contextlib import suppress

from msgspec import Struct

from hostscope.errors import Unavailable
from hostscope.model.key import ProcessKey
from hostscope.platforms.linux.parse import parse_namespace, parse_status
from hostscope.platforms.linux.read import read_file, read_text

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
TICK_NS = 1_000_000_000 // TICKS_PER_S
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Boot(Struct, frozen=True):
    """What identifies processes of this boot, seen from our PID namespace."""

    boot_id: str
    pid_ns: int
    at_ns: int
    """When the kernel's boot clock (suspend included) was zero, UTC since the epoch."""

    def key(self, pid: int, start: int) -> ProcessKey:
        """Identity of the process with this pid and start, in ticks since boot."""
        return ProcessKey(self.boot_id, self.pid_ns, pid, start)

    def started_at_ns(self, start: int) -> int:
        """Ticks since boot as a point in time."""
        return self.at_ns + start * TICK_NS


def ticks_now() -> int:
    """Ticks since boot, as processes' starts are counted."""
    return since_boot_ns() // TICK_NS


def since_boot_ns() -> int:
    """The clock of events: suspend counts."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def read_boot() -> Boot:
    """This boot. Source: /proc/sys/kernel/random/boot_id, /proc/self/ns/pid, CLOCK_BOOTTIME.

    Raises:
        Unavailable: there is no /proc.
    """
    try:
        pid_ns = _numbering()
    except OSError as failed:
        raise Unavailable(f"/proc cannot be read: {failed.strerror}", "mount it: mount -t proc proc /proc") from failed
    return Boot(
        read_text("/proc/sys/kernel/random/boot_id") or "",
        pid_ns,
        time.time_ns() - since_boot_ns(),
    )


def _numbering() -> int:
    """The PID namespace whose numbers /proc shows: ours, unless it was mounted in one above (``unshare --pid`` without
    a /proc of its own). Then it is the one of that /proc's first process, and 0 when that may not be read."""
    if parse_status(read_file("/proc/self/status")).inner_pid is None:
        return parse_namespace(os.readlink("/proc/self/ns/pid"))
    for pid in (1, 2):  # kthreadd, when it is the host's: some hosts guard the links of PID 1 even from root
        with suppress(OSError):
            return parse_namespace(os.readlink(f"/proc/{pid}/ns/pid"))
    return 0
