"""What the host is. Source: uname(2), sysconf(3), os-release(5), /proc/sys/kernel/random/boot_id."""

import os
import socket
import time
from functools import cache

from hostscope.errors import Unavailable
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import HostInfo
from hostscope.model.text import decode
from hostscope.platforms.linux.hostfiles import reason_of
from hostscope.platforms.linux.parse_host import parse_os_release
from hostscope.platforms.linux.read import read_file

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
"""In this order (os-release(5)); the second is for hosts whose /etc is empty."""
BOOT_ID = "/proc/sys/kernel/random/boot_id"


LOG = "/dev/log"
SEVERITIES = {"info": "LOG_INFO", "warning": "LOG_WARNING", "error": "LOG_ERR"}


class System:
    """Implements `hostscope.platforms.base.System`."""

    def info(self) -> HostInfo:
        """What does not change while the host runs.

        In a container: the container's name and system, the host's kernel, processors and memory.
        """
        gaps: list[Gap] = []
        kernel = os.uname()
        return HostInfo(
            hostname=decode(os.fsencode(kernel.nodename)),
            system="linux",
            os_name=_os_name(gaps),
            kernel=decode(os.fsencode(kernel.release)),
            architecture=kernel.machine,
            boot_id=_boot_id(gaps),
            booted_at_ns=read_booted_at_ns(),
            cpus=os.sysconf("SC_NPROCESSORS_ONLN"),
            memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            pid_ns=_pid_ns(gaps),
            vendor=_firmware("sys_vendor"),
            model=_firmware("product_name") or _device_tree(),
            gaps=tuple(gaps),
        )

    def report(self, severity: str, text: str) -> None:
        """Writes a line to the host's log by syslog(3), which does not tell whether anybody took it.

        Raises:
            Unavailable: nobody takes lines.
        """
        import syslog  # not on Windows, where this file is imported by tests

        find_log()
        syslog.openlog("hostscope", syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(getattr(syslog, SEVERITIES[severity]), text.replace("\0", "\ufffd"))


@cache
def find_log() -> str:
    """Where lines of the host's log are taken; looked for once.

    Raises:
        Unavailable: nobody takes any.
    """
    said = ""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as trial:
            try:
                trial.connect(LOG)
            except OSError as failed:
                said = said or str(failed.strerror)
                continue
            return LOG
    raise Unavailable(
        f"nobody takes lines for the host's log: {LOG}: {said}", "is a syslog daemon or journald running?"
    )


def read_booted_at_ns() -> int:
    """When the boot clock, which runs on through suspend, was zero; UTC since the epoch.

    Moves with every correction of the wall clock. In a time namespace it is that namespace's zero, as are the start
    times that /proc shows there. The pair of clocks is read three times: the smallest result is the one that was
    least held up between its two readings.
    """
    return min(time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) for _ in range(3))


def _os_name(gaps: list[Gap]) -> str | None:
    for path in OS_RELEASE:
        try:
            found = parse_os_release(read_file(path))
        except OSError:
            continue  # the other one, or the gap below
        return found.get("PRETTY_NAME") or found.get("NAME") or "Linux"  # the default that os-release(5) names
    gaps.append(Gap("os_name", Reason.UNAVAILABLE, f"none of {', '.join(OS_RELEASE)} could be read"))
    return None


def _boot_id(gaps: list[Gap]) -> str | None:
    try:
        return decode(read_file(BOOT_ID).strip())
    except OSError as failed:
        gaps.append(Gap("boot_id", reason_of(failed), f"{BOOT_ID}: {failed.strerror}"))
        return None


def _firmware(name: str) -> str | None:
    """A text of the firmware's tables (SMBIOS); None where there are none, as on most arm boards and in containers."""
    try:
        return decode(read_file(f"/sys/class/dmi/id/{name}").strip()) or None
    except OSError:
        return None


def _device_tree() -> str | None:
    """The board's own name of itself, ended by NUL."""
    try:
        return decode(read_file("/proc/device-tree/model").rstrip(b"\0\n")) or None
    except OSError:
        return None


def _pid_ns(gaps: list[Gap]) -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError as failed:
        gaps.append(Gap("pid_ns", reason_of(failed), f"/proc/self/ns/pid: {failed.strerror}"))
        return 0
