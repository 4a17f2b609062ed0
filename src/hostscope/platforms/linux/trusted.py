"""Folders and files that only we can have written.

Whoever can write to a cache could make us vouch for a foreign program, or load one into the kernel. So a folder counts
only if it belongs to us, nobody else may enter it, it is no link, and nobody else may exchange it for another; a file
in it only if it belongs to us, nobody else may open it, it is a plain file of one name and bounded size. This does not
protect from root, who could change us as well.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hostscope.errors import Untrusted
from hostscope.model.text import encode

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_NEVER = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Follow no link, wait for no reader of a fifo, leave nothing to children."""


def cache_folder() -> str | None:
    """HOSTSCOPE_CACHE; else for root /var/cache/hostscope, for others one below their cache folder, if that is known.

    Wherever it is, nothing in it counts that fails the checks.
    """
    if (named := os.environ.get("HOSTSCOPE_CACHE", "")).startswith("/"):
        return named
    if os.geteuid() == 0:
        return "/var/cache/hostscope"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "hostscope") if base.startswith("/") else None


@contextmanager
def open_folder(path: str, make: bool = False) -> Iterator["Folder"]:
    """The folder at `path`; with `make` it is made, with mode 0700, if it is missing.

    Raises:
        Untrusted: somebody else could have written to it.
        OSError: it cannot be opened or made; FileNotFoundError when there is none.

    Cost: five system calls.
    """
    if make:
        os.makedirs(encode(path), mode=0o700, exist_ok=True)
    handle = os.open(encode(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_parent(os.stat(os.path.dirname(encode(path))))
        _check_owner(os.fstat(handle))
        yield Folder(handle)
    finally:
        os.close(handle)


class Folder:
    """An open folder that is ours alone; names are of files directly in it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def names(self) -> list[str]:
        """Of everything in it."""
        return os.listdir(self._handle)

    def read(self, name: str, most_bytes: int) -> bytes:
        """A file as a whole.

        Raises:
            Untrusted: somebody else could have written it, or it is longer than `most_bytes`.
            OSError: FileNotFoundError when there is none.
        """
        with open(self._open(name, os.O_RDONLY, most_bytes), "rb") as file:
            return file.read(most_bytes)

    def replace(self, name: str, content: bytes) -> None:
        """Puts a file in place, whole or not at all. Raises `OSError`."""
        beside = f".{name}.{os.getpid()}"
        self._write_new(beside, content)
        try:
            os.rename(beside, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        except BaseException:
            self.remove(beside)
            raise

    def append(self, name: str, line: bytes, head: bytes, most_bytes: int) -> None:
        """Adds a line in one write, so that processes that share the file never mix theirs.

        A missing file begins with `head`; one that would grow beyond `most_bytes` is begun anew. When another process
        begins it at the same moment, our line is dropped.

        Raises:
            Untrusted: somebody else could have written it.
            OSError
        """
        with suppress(FileNotFoundError):
            file = self._open(name, os.O_WRONLY | os.O_APPEND, most_bytes)
            try:
                if os.fstat(file).st_size + len(line) <= most_bytes:
                    os.write(file, line)
                    return
            finally:
                os.close(file)
        self.remove(name)
        with suppress(FileExistsError):
            self._write_new(name, head + line)

    def remove(self, name: str) -> None:
        """Removes a name, whatever it stands for, if it is there. Raises `OSError`."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._handle)

    def _open(self, name: str, flags: int, most_bytes: int) -> int:
        try:
            file = os.open(name, flags | _NEVER, dir_fd=self._handle)
        except FileNotFoundError:
            raise
        except OSError as failed:
            raise Untrusted(f"it cannot be opened: {failed.strerror}") from failed
        try:
            _check_file(os.fstat(file), most_bytes)
        except Untrusted:
            os.close(file)
            raise
        return file

    def _write_new(self, name: str, content: bytes) -> None:
        file = os.open(name, _NEW | _NEVER, 0o600, dir_fd=self._handle)
        try:
            with open(file, "wb", buffering=0) as stream:
                if stream.write(content) != len(content):
                    raise OSError(f"{name}: the disk is full")
        except BaseException:
            self.remove(name)
            raise


def _check_parent(found: os.stat_result) -> None:
    """Whoever may write to the parent could put another folder in place, except where only owners may (sticky)."""
    if found.st_uid not in {0, os.geteuid()}:
        raise Untrusted(f"the folder above belongs to user {found.st_uid}, not to us or root")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise Untrusted(f"others may write to the folder above (mode {stat.S_IMODE(found.st_mode):o})")


def _check_owner(found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise Untrusted(f"it belongs to user {found.st_uid}, not to us")
    if found.st_mode & 0o077:
        raise Untrusted(f"others may read or write it (mode {stat.S_IMODE(found.st_mode):o})")


def _check_file(found: os.stat_result, most_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Untrusted("it is no regular file")
    _check_owner(found)
    if found.st_nlink != 1 or found.st_size > most_bytes:
        raise Untrusted("it has other names, or is too large")
