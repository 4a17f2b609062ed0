"""Files of /proc and /sys that tell of the host, each of which may be missing."""

import errno

from hostscope.model.gap import Gap, Reason
from hostscope.platforms.linux.read import read_file
from hostscope.platforms.linux.translate import REFUSED

_ABSENT = frozenset({errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV})
"""EOPNOTSUPP: /proc/pressure of a kernel that was started with psi=0."""


def read_or_gap(path: str, field: str, gaps: list[Gap]) -> bytes | None:
    """The file's content; when it cannot be read, None and one more gap for `field`.

    A file that is not there is `UNSUPPORTED`: unlike a process's files, the host's do not come and go.
    """
    try:
        return read_file(path)
    except OSError as failed:
        gaps.append(Gap(field, reason_of(failed), f"{path}: {failed.strerror}"))
        return None


def reason_of(failed: OSError) -> Reason:
    """Why a file of the host could not be read."""
    if failed.errno in REFUSED:
        return Reason.DENIED
    return Reason.UNSUPPORTED if failed.errno in _ABSENT else Reason.UNAVAILABLE
