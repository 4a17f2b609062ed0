"""The executable of a process: deleted, replaced, or run from memory."""

import errno
import os

from hostscope.model.process import Executable
from hostscope.model.text import decode

_DELETED = b" (deleted)"


def read_executable(directory: int, identify: bool, known: dict[bytes, Executable]) -> Executable:
    """From /proc/PID/exe of an open process directory; `identify` adds device and inode.

    `known` keeps what needs no second look, by link.

    Raises:
        OSError: ENOENT without an address space, EACCES without ptrace access, ESRCH when it ended.
    Cost: one system call; one more to identify, three or four more when the file was deleted.
    """
    link = os.readlink(b"exe", dir_fd=directory)
    if not link.endswith(_DELETED) and not identify:
        return known.get(link) or known.setdefault(link, Executable(decode(link)))
    status = os.stat(b"exe", dir_fd=directory)
    if not link.endswith(_DELETED) or _is_named(directory, link, status):
        return Executable(decode(link), status.st_dev, status.st_ino) if identify else Executable(decode(link))
    return _deleted(directory, link[: -len(_DELETED)], status, identify)


def deleted_executable(directory: int, path: bytes, identify: bool) -> Executable:
    """The same for a file that the kernel itself says is unlinked."""
    return _deleted(directory, path, os.stat(b"exe", dir_fd=directory), identify)


def _deleted(directory: int, path: bytes, status: os.stat_result, identify: bool) -> Executable:
    device, inode = (status.st_dev, status.st_ino) if identify else (None, None)
    if path.startswith(b"/memfd:") and status.st_nlink == 0 and status.st_dev != os.stat("/").st_dev:
        return Executable(decode(path), device, inode, deleted=True, memfd=True)
    return Executable(decode(path), device, inode, deleted=True, replaced=_replaced(directory, path))


def _is_named(directory: int, link: bytes, status: os.stat_result) -> bool:
    """d_path marks unlinked files with " (deleted)", but a file may also just be called that."""
    if status.st_nlink == 0:
        return False
    try:
        named = os.lstat(_seen_by_it(directory, link), dir_fd=directory)
    except OSError:
        return False
    return (named.st_dev, named.st_ino) == (status.st_dev, status.st_ino)


def _replaced(directory: int, path: bytes) -> bool | None:
    """Whether another file stands at the path now, as the process itself would see it."""
    try:
        os.lstat(_seen_by_it(directory, path), dir_fd=directory)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True


def _seen_by_it(directory: int, path: bytes) -> bytes:
    """A path that /proc gave, through the process's own root.

    Links of /proc are paths from the root of the process's mount namespace. After chroot(2) its root directory is a
    prefix of them, and is itself shown as a path from there.

    Raises:
        OSError: EXDEV when the path is outside of its root directory.
    """
    root = os.readlink(b"root", dir_fd=directory).rstrip(b"/")
    if not path.startswith(root + b"/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return b"root" + path[len(root) :]
