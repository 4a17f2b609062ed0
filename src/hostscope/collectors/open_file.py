"""A file of this host as `Content`: opened once, read in place, and never believed to stay as it is."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from hostscope.dumps.positional import READ_ONLY, read_at
from hostscope.errors import Denied, Error, Unavailable, UsageError
from hostscope.model.text import encode

State = tuple[int, int, int, int, int]
"""Device, inode, size, mtime and ctime: any write, and any change of the file's times, gives another."""


class FileContent:
    """An open file."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.state = state_of(fd)
        self.size = self.state[2]

    def read(self, offset: int, size: int) -> bytes:
        """See `Content.read`.

        Raises:
            Unavailable: the disk, or the file's server, did not answer.
        """
        left, pieces = max(0, min(size, self.size - offset)), list[bytes]()
        try:
            while left and (piece := read_at(self.fd, left, offset)):
                pieces.append(piece)
                offset, left = offset + len(piece), left - len(piece)
        except OSError as failed:
            raise Unavailable(f"the file cannot be read: {failed.strerror}") from failed
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check(self) -> None:
        """Raises `Unavailable` when the file was written to since it was opened."""
        if state_of(self.fd) != self.state:
            raise Unavailable("the file was written to while it was read", "ask again")


def state_of(fd: int) -> State:
    """The state of an open file."""
    found = os.fstat(fd)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@contextmanager
def open_content(path: str) -> Iterator[FileContent]:
    """A regular file.

    Raises:
        UsageError: there is none of that name, or it is no regular file.
        Denied: it may not be read. Unavailable
    """
    try:
        fd = os.open(encode(path), READ_ONLY)
    except OSError as failed:
        raise _refused(path, failed) from failed
    try:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            raise _refused(path, IsADirectoryError())
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is no regular file")
        yield FileContent(fd)
    finally:
        os.close(fd)


def _refused(path: str, failed: OSError) -> Error:
    if os.path.isdir(encode(path)):  # Windows refuses to open one
        return UsageError(f"{path} is a folder, and no bundle", "name a file, or a folder such as Some.app")
    if isinstance(failed, PermissionError):
        return Denied(f"cannot read {path}: {failed.strerror}", "needs root, an administrator, or who may read it")
    if isinstance(failed, (FileNotFoundError, NotADirectoryError)):
        hint = None if os.path.dirname(path) else "a process is named by pid, key or :PORT"
        return UsageError(f"cannot read {path}: {failed.strerror}", hint)
    return Unavailable(f"cannot read {path}: {failed.strerror}")
