"""Which file a process runs, by the kernel's word."""

from hostscope.errors import Gone
from hostscope.platforms.macos.native import errnos, libproc
from hostscope.platforms.macos.parse_detail import parse_region

_LOOK_AT_MOST = 8
"""Regions: the program's own text is the first that has a file (dyld and the shared cache lie above)."""


def running_image(pid: int) -> int | None:
    """Inode of the program's file; None where the kernel tells none, or refuses.

    Raises:
        Gone: the process ended.
    """
    question = libproc.Question(libproc.PROC_PIDREGIONPATHINFO, libproc.proc_regionwithpathinfo)
    address = 0
    for _ in range(_LOOK_AT_MOST):
        try:
            region = parse_region(question.ask(pid, address))
        except OSError as failed:
            if failed.errno == errnos.ESRCH:
                raise Gone(f"process {pid}: there is no such process") from failed
            return None
        if region.path and region.inode:
            return region.inode
        address = region.end
    return None
