"""Every process by one call of the kernel: for everybody, and of everybody's processes."""

from hostscope.errors import Gone
from hostscope.model.key import ProcessKey
from hostscope.platforms.macos import translate
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.native import sysctls
from hostscope.platforms.macos.native.kern_proc import CTL_KERN, KERN_PROC, KERN_PROC_ALL, KERN_PROC_PID
from hostscope.platforms.macos.parse import Listed, parse_processes


def read_processes() -> list[Listed]:
    """Every process, zombies included, in ascending pid order. Source: sysctl KERN_PROC_ALL.

    Cost: two calls, unless many processes start between them.

    Raises:
        Denied, NativeError
    """
    return sorted(_read(KERN_PROC_ALL, 0), key=_pid)


def read_one(pid: int) -> Listed:
    """One process. Source: sysctl KERN_PROC_PID.

    Raises:
        Gone: there is no such process.
        Denied, NativeError
    """
    found = _read(KERN_PROC_PID, pid)
    if not found or found[0].pid != pid:
        raise Gone(f"process {pid}: there is no such process")
    return found[0]


def read_key(boot: Boot, pid: int) -> ProcessKey:
    """Identity of the process that has a pid now. Raises as `read_one`."""
    return boot.key(pid, read_one(pid).start_us)


def _read(which: int, pid: int) -> list[Listed]:
    numbers = (CTL_KERN, KERN_PROC, which, pid)
    try:
        return parse_processes(sysctls.read_numbers(numbers))
    except OSError as failed:
        raise translate.error("sysctl KERN_PROC", failed, pid or None) from failed


def _pid(listed: Listed) -> int:
    return listed.pid
