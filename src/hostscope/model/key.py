"""The identity of a process."""

from msgspec import Struct


class ProcessKey(Struct, frozen=True, gc=False, order=True):
    """Which process this is, for good; a pid alone is reused."""

    boot_id: str
    """The boot's random identifier (Linux: /proc/sys/kernel/random/boot_id)."""
    pid_ns: int
    """Inode of the PID namespace that `pid` is a number of; 0 where the system has none or it cannot be known."""
    pid: int
    start: int
    """The kernel's own stamp, opaque: compare for equality only. Linux: clock ticks since boot (/proc/PID/stat
    field 22); Windows: FILETIME; macOS: microseconds."""
    serial: int | None = None
    """pidfs inode (Linux 6.9), obtained before an act; tells apart processes that share pid and tick."""

    def same(self, other: "ProcessKey") -> bool:
        """Whether both name one process; serials are compared when both have one."""
        if (self.boot_id, self.pid_ns, self.pid, self.start) != (other.boot_id, other.pid_ns, other.pid, other.start):
            return False
        return self.serial is None or other.serial is None or self.serial == other.serial

    def __str__(self) -> str:
        return f"{self.pid}@{self.start}" + (f"#{self.serial}" if self.serial is not None else "")
