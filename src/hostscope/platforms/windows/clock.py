"""Time and identity of this boot, fixed once so that all records agree."""

import struct

from msgspec import Struct

from hostscope.errors import Unavailable
from hostscope.model.key import ProcessKey
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.native import machine, ntdll

EPOCH_FILETIME = 116_444_736_000_000_000
"""1970-01-01 in FILETIME: 100 ns since 1601-01-01, UTC."""
TICK_NS = 100
"""Of FILETIME, and of times of processors and processes."""
_TIME_OF_DAY = struct.Struct("<qqq II qQ")


class Boot(Struct, frozen=True):
    """What identifies processes of this boot."""

    boot_id: str
    """The installation's MachineGuid and when this boot began, in hexadecimal; Windows has no random one."""
    at_ns: int
    """When the kernel started, UTC since the epoch, by the clock as it is set now."""

    def key(self, pid: int, created: int) -> ProcessKey:
        """Identity of the process with this pid and creation time (FILETIME). There are no PID namespaces."""
        return ProcessKey(self.boot_id, 0, pid, created)


def filetime_ns(filetime: int) -> int:
    """A FILETIME as UTC since the epoch."""
    return (filetime - EPOCH_FILETIME) * TICK_NS


def read_boot() -> Boot:
    """This boot. Source: NtQuerySystemInformation(SystemTimeOfDayInformation), MachineGuid in the registry.

    When somebody sets the clock, the kernel moves its BootTime along and keeps the sum of all moves (BootTimeBias): the
    difference stays the same until the next boot.

    Raises:
        Denied, NativeError, Unavailable
    """
    try:
        raw, _ = ntdll.query_system(ntdll.SystemTimeOfDayInformation, _TIME_OF_DAY.size)
    except OSError as failed:
        raise translate.error("NtQuerySystemInformation", failed) from failed
    if len(raw) < _TIME_OF_DAY.size:
        raise Unavailable("the kernel does not tell when it started")
    began, _, _, _, _, bias, _ = _TIME_OF_DAY.unpack_from(raw)
    return Boot(f"{machine.machine_guid() or 'unknown'}:{began - bias:x}", filetime_ns(began))
