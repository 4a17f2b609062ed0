"""Digests of files that did not change since, in memory and in one file of our own.

Whoever can write to the file could make us vouch for a foreign program, so it counts only when nobody else can: the
folder and the file belong to us, no one else may even read them, neither is a link, and every line carries a checksum.
A file that fails any of this is removed and begun anew, and a folder that does is left alone and not used. This does
not protect from root, who could change us as well.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from msgspec import Struct

from hostscope import log
from hostscope.model.text import encode

MAX_BYTES = 4 << 20
"""The file is begun anew beyond this: about 25,000 digests."""
MAX_ENTRIES = 32_768
HEADER = b"hostscope.digests/1\n"
NAME = "digests"

_EXCLUSIVE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class FileStamp(Struct, frozen=True, array_like=True):
    """A file in one state: any write, and any change of its times, gives another."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> "FileStamp":
        """The stamp of a stat(2) result."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Untrusted(ValueError):
    """Somebody else could have written it."""


def default_folder() -> str | None:
    """/var/cache/hostscope for root (whatever the caller's environment says), else below the user's cache folder."""
    if os.geteuid() == 0:
        return "/var/cache/hostscope"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "hostscope") if base.startswith("/") else None


def format_line(stamp: FileStamp, algorithm: str, digest: str) -> bytes:
    """One line of the file: stamp, algorithm, digest, checksum."""
    numbers = (stamp.device, stamp.inode, stamp.size_bytes, stamp.mtime_ns, stamp.ctime_ns)
    text = " ".join((*map(str, numbers), algorithm, digest)).encode()
    return text + b" " + _checksum(text) + b"\n"


def parse_lines(raw: bytes) -> dict[tuple[FileStamp, str], str]:
    """The whole file. Pure.

    Raises:
        Untrusted: a line is not as we write it.
    """
    if not raw.startswith(HEADER) or not raw.endswith(b"\n"):
        raise Untrusted("it does not begin or end as it should")
    lines = raw[len(HEADER) :].split(b"\n")[:-1]
    return dict(_parse_line(line) for line in lines)


def _parse_line(line: bytes) -> tuple[tuple[FileStamp, str], str]:
    text, _, checksum = line.rpartition(b" ")
    fields = text.split(b" ")
    if len(fields) != 7 or checksum != _checksum(text):
        raise Untrusted("a line is damaged")
    try:
        return (FileStamp(*map(int, fields[:5])), fields[5].decode("ascii")), fields[6].decode("ascii")
    except ValueError as failed:
        raise Untrusted("a line is damaged") from failed


def _checksum(text: bytes) -> bytes:
    import hashlib  # loads OpenSSL: not for those who ask for no digest

    return hashlib.blake2s(text, digest_size=8).hexdigest().encode()


class DigestCache:
    """Digests by file state. Not for use by several threads; several processes may share the file."""

    def __init__(self, folder: str | None) -> None:
        """`folder` is made with mode 0700 when something is to be written; None keeps digests in memory only."""
        self._folder = folder
        self._known: dict[tuple[FileStamp, str], str] = {}
        self._loaded = False
        self.refused: str | None = None
        """Why what was stored is not used, for people; None while it is."""

    def get(self, stamp: FileStamp, algorithm: str) -> str | None:
        """The digest of a file in this state, if it is known."""
        if not self._loaded:
            self._loaded = True
            self._load()
        return self._known.get((stamp, algorithm))

    def put(self, stamp: FileStamp, algorithm: str, digest: str) -> None:
        """Remembers a digest, and appends it to the file. Cost: five system calls."""
        if len(self._known) >= MAX_ENTRIES:
            self._known.pop(next(iter(self._known)))
        self._known[stamp, algorithm] = digest
        if self._folder is not None:
            self._append(self._folder, format_line(stamp, algorithm, digest))

    def _load(self) -> None:
        if self._folder is None:
            return
        try:
            with _trusted_folder(self._folder) as folder:
                self._known = self._load_file(folder)
        except FileNotFoundError:
            return
        except (OSError, Untrusted) as failed:
            self._refuse(self._folder, failed)
            self._folder = None

    def _load_file(self, folder: int) -> dict[tuple[FileStamp, str], str]:
        try:
            with open(_open_file(folder, os.O_RDONLY), "rb") as file:
                return parse_lines(file.read(MAX_BYTES))
        except Untrusted as failed:
            os.unlink(NAME, dir_fd=folder)
            self._refuse(f"{self._folder}/{NAME}", failed)
            return {}

    def _append(self, path: str, line: bytes) -> None:
        try:
            os.makedirs(encode(path), mode=0o700, exist_ok=True)
            with _trusted_folder(path) as folder:
                _append(folder, line)
        except (OSError, Untrusted) as failed:
            self._refuse(path, failed)
            self._folder = None

    def _refuse(self, path: str, failed: Exception) -> None:
        self.refused = f"{path}: {failed}"
        log.warning("digest_cache_refused", reason=self.refused)


@contextmanager
def _trusted_folder(path: str) -> Iterator[int]:
    """A descriptor of the folder. Raises `Untrusted`, `OSError`."""
    folder = os.open(encode(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_owner(os.fstat(folder))
        yield folder
    finally:
        os.close(folder)


def _open_file(folder: int, flags: int) -> int:
    """A descriptor of the file. Raises `Untrusted`, and `FileNotFoundError` when there is none."""
    try:
        file = os.open(NAME, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as failed:
        raise Untrusted(f"it cannot be opened: {failed.strerror}") from failed
    try:
        _check_file(os.fstat(file))
    except Untrusted:
        os.close(file)
        raise
    return file


def _check_owner(found: os.stat_result) -> None:
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise Untrusted(f"it belongs to user {found.st_uid} with mode {mode:o}; wanted: ours, and nobody else's")


def _check_file(found: os.stat_result) -> None:
    _check_owner(found)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size > MAX_BYTES:
        raise Untrusted("it is no plain file of one name and bounded size")


def _append(folder: int, line: bytes) -> None:
    """One write, so that processes that share the file never mix their lines."""
    try:
        file = _open_file(folder, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        _begin(folder, line)
        return
    try:
        if os.fstat(file).st_size + len(line) <= MAX_BYTES:
            os.write(file, line)
            return
    finally:
        os.close(file)
    os.unlink(NAME, dir_fd=folder)
    _begin(folder, line)


def _begin(folder: int, line: bytes) -> None:
    """A new file. When another process was faster, the line is not stored: a digest is only computed again."""
    with suppress(FileExistsError):
        file = os.open(NAME, _EXCLUSIVE, 0o600, dir_fd=folder)
        try:
            os.write(file, HEADER + line)
        finally:
            os.close(file)
