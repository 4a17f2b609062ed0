"""Linux' error numbers, told apart: refused, gone, and the rest."""

import errno

from hostscope.errors import Denied, Error, Gone, NativeError
from hostscope.model.gap import Gap, Reason

REFUSED = frozenset({errno.EACCES, errno.EPERM})
VANISHED = frozenset({errno.ESRCH, errno.ENOENT})
"""procfs: ENOENT before a process directory is opened, ESRCH when its process ended after that."""

PTRACE_HINT = (
    "needs root, the process's own user, or CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH; a security module may forbid it"
)


def error(call: str, failed: OSError, pid: int | None = None) -> Error:
    """Our error for one of the system's."""
    who = f"process {pid}" if pid is not None else call
    if failed.errno in REFUSED:
        from hostscope.platforms.linux.privileges import READ_OTHERS, granting, lacking

        missing = lacking(READ_OTHERS)
        return Denied(f"{who}: permission denied{missing}", PTRACE_HINT + granting(missing))
    if pid is not None and failed.errno in VANISHED:
        return Gone(f"{who}: there is no such process")
    return NativeError(call, failed.errno or 0, failed.strerror or str(failed))


def gap(field: str, failed: OSError) -> Gap:
    """Our gap for a field that could not be read."""
    if failed.errno in REFUSED:
        return Gap(field, Reason.DENIED, PTRACE_HINT)
    if failed.errno in VANISHED:
        return Gap(field, Reason.GONE)
    return Gap(field, Reason.UNAVAILABLE, failed.strerror)
