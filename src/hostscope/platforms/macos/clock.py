"""Time and identity of this boot, fixed once so that all records agree."""

import struct

from msgspec import Struct

from hostscope.errors import Unavailable
from hostscope.model.key import ProcessKey
from hostscope.platforms.macos import parse, translate
from hostscope.platforms.macos.native import machine, sysctls


class Boot(Struct, frozen=True):
    """What identifies processes of this boot."""

    boot_id: str
    """kern.bootsessionuuid: random, of this boot."""
    at_ns: int
    """When the system was started, UTC since the epoch, by the clock as it is set now."""
    timebase: tuple[int, int] = (1, 1)
    """Numerator and denominator that turn units of the Mach clock into nanoseconds."""

    def key(self, pid: int, start_us: int) -> ProcessKey:
        """Identity of the process with this pid and start in microseconds. There are no PID namespaces."""
        return ProcessKey(self.boot_id, 0, pid, start_us)

    def nanoseconds(self, units: int) -> int:
        """A duration of the Mach clock."""
        return units * self.timebase[0] // self.timebase[1]


def started_at_ns(start_us: int) -> int:
    """A process's start as a point in time."""
    return start_us * 1000


def read_boot() -> Boot:
    """This boot. Source: sysctl kern.bootsessionuuid, kern.boottime; mach_timebase_info.

    Raises:
        Denied, NativeError, Unavailable
    """
    try:
        boot_id = parse.parse_text(sysctls.read_name("kern.bootsessionuuid"))
        raw = sysctls.read_name("kern.boottime")
    except OSError as failed:
        raise translate.error("sysctl", failed) from failed
    if len(raw) < 12:
        raise Unavailable("the kernel does not tell when it started")
    seconds, micros = struct.unpack_from("<qi", raw)
    return Boot(boot_id, (seconds * 1_000_000 + micros) * 1000, machine.timebase())
