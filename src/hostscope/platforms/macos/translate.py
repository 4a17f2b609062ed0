"""macOS' error numbers, told apart."""

from hostscope.errors import Denied, Error, Gone, NativeError
from hostscope.model.gap import Gap, Reason
from hostscope.platforms.macos.native import errnos

REFUSED = frozenset({errnos.EACCES, errnos.EPERM})
VANISHED = frozenset({errnos.ESRCH})
ABSENT = frozenset({errnos.ENOTSUP, errnos.ENOSYS, errnos.ENOPROTOOPT})
"""This macOS has no such call."""
CUT_OFF = frozenset({errnos.ENOMEM, errnos.ERANGE, errnos.EOVERFLOW})
"""The answer has no room, however much was given."""

ROOT_HINT = "needs root; System Integrity Protection refuses some processes to root too"


def error(call: str, failed: OSError, pid: int | None = None) -> Error:
    """Our error for one of the system's."""
    who = f"process {pid}" if pid is not None else call
    if failed.errno in REFUSED:
        return Denied(f"{who}: permission denied", ROOT_HINT)
    if pid is not None and failed.errno in VANISHED:
        return Gone(f"{who}: there is no such process")
    return NativeError(call, failed.errno or 0, failed.strerror or str(failed))


def gap(field: str, failed: OSError) -> Gap:
    """Our gap for a field that could not be read."""
    if failed.errno in REFUSED:
        return Gap(field, Reason.DENIED, ROOT_HINT)
    if failed.errno in VANISHED:
        return Gap(field, Reason.GONE)
    if failed.errno in ABSENT:
        return Gap(field, Reason.UNSUPPORTED, failed.strerror)
    if failed.errno in CUT_OFF:
        return Gap(field, Reason.TRUNCATED, failed.strerror)
    return Gap(field, Reason.UNAVAILABLE, failed.strerror)
