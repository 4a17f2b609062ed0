"""The control group that is one container's, and ending all that is in it at once."""

import errno
import os

from hostscope.errors import Denied, Error
from hostscope.model.container import Container
from hostscope.model.text import encode
from hostscope.platforms.linux.cgroups import MAX_BYTES, parse_hierarchies, place
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.pidfd import translated
from hostscope.platforms.linux.read import read_at, read_file
from hostscope.platforms.linux.translate import REFUSED

UNIFIED = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
"""Where the unified hierarchy is mounted, on v2 and on hybrid hosts."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_UNABLE = frozenset({errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL})
"""No such file before Linux 5.14; a threaded group cannot be killed."""


def find(pid: int, container: Container, containers: Containers | None = None) -> str | None:
    """Path of the container's own group in the unified hierarchy; None when it has none there.

    The highest group that still tells this container is its own: what lies below is the container's too.

    Raises:
        Gone, Denied
    """
    try:
        path = parse_hierarchies(read_file(f"/proc/{pid}/cgroup", MAX_BYTES)).get("", "/")
    except OSError as failed:
        raise translated(failed, pid) from failed
    state, own = containers or Containers(), None
    while path not in ("", "/") and _tells(path, container, state):
        own, path = path, path.rpartition("/")[0]
    return own


def _tells(path: str, container: Container, state: Containers) -> bool:
    found = place(path)[0] or state.at(path)
    return found is not None and found.id == container.id


def kill(path: str, member: int, mounts: tuple[str, ...] = UNIFIED) -> bool:
    """SIGKILL to every process in a group and below it, those that are being forked included.

    One open directory stands for the group from the look at its processes on. It must hold `member`, or the path means
    another group here (we are in a control group namespace), and must not hold us.

    Returns:
        False where this kernel or this group does not have it.

    Raises:
        Denied
    """
    mount = next((mount for mount in mounts if os.path.exists(f"{mount}/cgroup.procs")), None)
    if mount is None:
        return False
    try:
        directory = os.open(encode(mount + path), _DIRECTORY)
    except OSError:
        return False
    try:
        return _is_safe(directory, member) and _write_kill(directory)
    finally:
        os.close(directory)


def _is_safe(directory: int, member: int) -> bool:
    try:
        pids = members(directory)
    except OSError:
        return False  # a path longer than the kernel takes: we could be there
    return member in pids and os.getpid() not in pids


def members(directory: int) -> set[int]:
    """Pids in a group and below it, however deep the container may have nested its groups.

    Raises:
        OSError: one below could not be looked into; those that were removed meanwhile are left out.

    Cost: seven system calls for each group.
    """
    found: set[int] = set()
    left = ["."]
    while left:
        name = left.pop()
        try:
            group = os.open(name, _DIRECTORY, dir_fd=directory)
        except FileNotFoundError:
            continue
        try:
            found |= _pids(group)
            left += [f"{name}/{below}" for below in _groups_in(group)]
        finally:
            os.close(group)
    return found


def _pids(group: int) -> set[int]:
    try:
        return {int(pid) for pid in read_at(group, "cgroup.procs").split()}
    except OSError:
        return set()  # it went, or is threaded; then its processes are listed above it


def _groups_in(group: int) -> list[str]:
    with os.scandir(group) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _write_kill(directory: int) -> bool:
    try:
        fd = os.open("cgroup.kill", os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError as failed:
        return _unable(failed)
    try:
        os.write(fd, b"1")
    except OSError as failed:
        return _unable(failed)
    finally:
        os.close(fd)
    return True


def _unable(failed: OSError) -> bool:
    if failed.errno in _UNABLE:
        return False
    raise _denied(failed) from failed


def _denied(failed: OSError) -> Error:
    if failed.errno in REFUSED:
        return Denied("the container's control group may not be written", "needs root")
    return translated(failed, 0)
