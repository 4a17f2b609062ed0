"""A file that appears under its name when it is whole, readable by its owner only, and never through a link."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from shutil import disk_usage
from tempfile import mkstemp
from typing import TypeVar

from hostscope.dumps.positional import write_at
from hostscope.errors import Error, Unavailable, UsageError
from hostscope.model.text import decode

Result = TypeVar("Result")
Override = Callable[[], AbstractContextManager[None]]
"""Brings the right to write in spite of permissions into effect for a block, where we have it."""


class NewFile:
    """A file under a temporary name, beside the one it will have."""

    def __init__(self, fd: int, beside: str, path: str, override: Override) -> None:
        self.fd = fd
        self.path = path
        self._beside = beside
        self._override = override

    def write_at(self, content: memoryview | bytes, offset: int) -> None:
        """Writes all of it. Raises OSError: the disk is full."""
        write_at(self.fd, content, offset)

    def finish(self, size_bytes: int | None = None) -> None:
        """Gives the file its size, if said (what was not written is a hole), and its name.

        Raises:
            UsageError
        """
        try:
            if size_bytes is not None:
                os.ftruncate(self.fd, size_bytes)
            permitted(partial(os.replace, self._beside, self.path), self._override)
        except OSError as failed:
            raise unwritable(self.path, failed) from None

    def drop(self) -> None:
        """Removes it, if it has not got its name."""
        with suppress(FileNotFoundError):
            permitted(partial(os.unlink, self._beside), self._override)


@contextmanager
def new_file(path: str, override: Override = nullcontext) -> Iterator[NewFile]:
    """A new file, mode 0600; removed when the block is left without `finish`.

    Raises:
        UsageError: it cannot be written.
    """
    directory, name = os.path.split(path)
    try:
        fd, beside = permitted(partial(mkstemp, prefix=f".{name[:64]}.", dir=directory or "."), override)
    except OSError as failed:
        raise unwritable(path, failed) from None
    made = NewFile(fd, beside, path, override)
    try:
        yield made
    finally:
        os.close(fd)
        made.drop()


def check_free(path: str, force: bool) -> None:
    """Raises UsageError when something has the name and may not be replaced."""
    if os.path.isdir(path) and not os.path.islink(path):
        raise UsageError(f"{path} is a directory", "name a file")
    if os.path.exists(path) and not os.path.isfile(path):  # /dev/null would be gone for everybody
        raise UsageError(f"{path} is no regular file, and is not replaced", "give another name")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} is there already", "give --force to replace it, or another name")


def check_space(path: str, needed_bytes: int) -> None:
    """Raises Unavailable when the file system has no room for so much more."""
    try:
        free = disk_usage(os.path.dirname(path) or ".").free
    except OSError as failed:
        raise unwritable(path, failed) from None
    if free < needed_bytes:
        raise Unavailable(
            f"{path}: needs {needed_bytes:,} bytes, and {free:,} are free",
            "write elsewhere, compress (--compress zstd), or limit it (--policy, --max-bytes)",
        )


def permitted(step: Callable[[], Result], override: Override) -> Result:
    """Takes a step, the second time with our privileges, which are kept out of effect otherwise."""
    try:
        return step()
    except PermissionError:
        with override():
            return step()


def unwritable(path: str, failed: OSError) -> Error:
    """Our error for one of the system's about an output."""
    if isinstance(failed, Error):
        return failed
    return UsageError(f"cannot write {path}: {decode((failed.strerror or str(failed)).encode())}")
