"""A file that appears under its name when it is whole, readable by its owner only, and never through a link."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from secrets import token_hex
from shutil import disk_usage

from hostscope.dumps.positional import write_at
from hostscope.errors import Error, Unavailable, UsageError
from hostscope.model.dump import Reserve
from hostscope.model.text import decode
from hostscope.private import Override, close_to_others, permitted

_CLOSING = getattr(os, "O_CLOEXEC", 0)
_NAMELESS: int = getattr(os, "O_TMPFILE", 0)
NAMELESS = _NAMELESS and _NAMELESS | os.O_RDWR | _CLOSING
"""Linux: whatever ends us, such a file is gone."""
NAMED = os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOSING | getattr(os, "O_BINARY", 0)
_NOT_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})
RESERVED_BYTES = 64 << 10
"""To find room for less ahead takes as long as it does when it is written."""
Reserving = Callable[[int], Reserve | None]
"""As `platforms.base.Files.reserve`."""


class NewFile:
    """A file without a name, or with a temporary one beside the one it will have where the system has no such files."""

    def __init__(
        self, path: str, override: Override = nullcontext, replace: bool = True, reserving: Reserving | None = None
    ) -> None:
        """Begins nothing: `begin` does, so that `drop` is due from the first moment on."""
        directory, name = os.path.split(path)
        self.fd = -1
        self.path = path
        self._directory = directory or "."
        self._beside = os.path.join(directory, f".{name[:64]}.{token_hex(4)}")
        self._nameless = False
        self._made = False
        """Whether there is a file of the temporary name."""
        self._override = override
        self._replace = replace
        self._reserving = reserving
        self._reserve: Reserve | None = None

    def begin(self) -> None:
        """Makes it, mode 0600. Raises OSError."""
        try:
            self.fd = permitted(partial(os.open, self._directory, NAMELESS, 0o600), self._override) if NAMELESS else -1
            self._nameless = self.fd >= 0
        except OSError as failed:
            if failed.errno not in _NOT_NAMELESS:
                raise
        if self.fd < 0:
            self.fd = permitted(partial(os.open, self._beside, NAMED, 0o600), self._override)
            self._made = True
            close_to_others(self._beside)
        self._reserve = self._reserving(self.fd) if self._reserving else None

    def reserve(self, offset: int, size: int) -> None:
        """Finds room for what is going to be written, where that helps. Raises nothing."""
        reserve = self._reserve  # another thread may find out that there is none
        if reserve and size >= RESERVED_BYTES and not reserve(offset, size):
            self._reserve = None

    def write_at(self, content: memoryview | bytes, offset: int) -> None:
        """Writes all of it. Raises OSError: the disk is full."""
        write_at(self.fd, content, offset)

    def finish(self, size_bytes: int | None = None) -> None:
        """Gives the file its size, if said (what was not written is a hole), and its name.

        Raises:
            UsageError: it cannot be written; or something has the name by now, and may not be replaced.
        """
        try:
            if size_bytes is not None:
                os.ftruncate(self.fd, size_bytes)
            if not self._nameless:
                self._close()  # Windows does not rename what is open
            permitted(self._name, self._override)
        except FileExistsError:
            raise UsageError(f"{self.path} is there already", "give --force to replace it, or another name") from None
        except OSError as failed:
            raise unwritable(self.path, failed) from None

    def take_back(self) -> None:
        """Removes it although it got its name."""
        with suppress(FileNotFoundError):
            permitted(partial(os.unlink, self.path), self._override)

    def drop(self) -> None:
        """Closes it, and removes it if it has not got its name."""
        self._close()
        if self._made or self._nameless:  # of a file without a name, one that stands in for what is to be replaced
            with suppress(FileNotFoundError):
                permitted(partial(os.unlink, self._beside), self._override)

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _name(self) -> None:
        """The one step that nobody can come between."""
        if self._replace:
            if self._nameless:
                self._link(self._beside)
            os.replace(self._beside, self.path)
        elif self._nameless:
            self._link(self.path)
        else:
            try:
                os.link(self._beside, self.path)
            except PermissionError:  # a file system without links: between look and rename somebody may come
                if os.path.lexists(self.path):
                    raise FileExistsError(self.path) from None
                os.rename(self._beside, self.path)

    def _link(self, path: str) -> None:
        """Follows the link to the open file: with a directory given, Python calls linkat(AT_SYMLINK_FOLLOW)."""
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.link(f"/proc/self/fd/{self.fd}", os.path.basename(path), dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(directory)


@contextmanager
def new_file(
    path: str, override: Override = nullcontext, replace: bool = True, reserving: Reserving | None = None
) -> Iterator[NewFile]:
    """A new file, mode 0600; removed when the block is left without `finish`.

    Args:
        replace: whether `finish` may replace what has the name by then.
        reserving: for a file that is going to be large.

    Raises:
        UsageError: it cannot be written.
    """
    made = NewFile(path, override, replace, reserving)
    try:
        try:
            made.begin()
        except OSError as failed:
            raise unwritable(path, failed) from None
        yield made
    finally:
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


def unwritable(path: str, failed: OSError) -> Error:
    """Our error for one of the system's about an output."""
    if isinstance(failed, Error):
        return failed
    return UsageError(f"cannot write {path}: {decode((failed.strerror or str(failed)).encode())}")
