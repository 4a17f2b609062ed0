"""Digests of files that did not change since, in memory and in one file of our own.

Whoever can write to the file could make us vouch for a foreign program, so it counts only as `trusted` says, and if
every line fits its checksum. A file that fails is removed and begun anew, and a folder that does is left alone and not
used.
"""

import os

from msgspec import Struct

from hostscope import log
from hostscope.errors import Untrusted
from hostscope.platforms.linux.trusted import Folder, open_folder

MAX_BYTES = 4 << 20
"""The file is begun anew beyond this: about 25,000 digests."""
MAX_ENTRIES = 32_768
HEADER = b"hostscope.digests/1\n"
NAME = "digests"


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
        """Remembers a digest, and appends it to the file. Cost: about ten system calls."""
        if len(self._known) >= MAX_ENTRIES:
            self._known.pop(next(iter(self._known)))
        self._known[stamp, algorithm] = digest
        if self._folder is not None:
            self._append(self._folder, format_line(stamp, algorithm, digest))

    def _load(self) -> None:
        if self._folder is None:
            return
        try:
            with open_folder(self._folder) as folder:
                self._known = self._load_file(folder)
        except FileNotFoundError:
            return
        except (OSError, Untrusted) as failed:
            self._refuse(self._folder, failed)
            self._folder = None

    def _load_file(self, folder: Folder) -> dict[tuple[FileStamp, str], str]:
        try:
            return parse_lines(folder.read(NAME, MAX_BYTES))
        except Untrusted as failed:
            folder.remove(NAME)
            self._refuse(f"{self._folder}/{NAME}", failed)
            return {}

    def _append(self, path: str, line: bytes) -> None:
        try:
            with open_folder(path, make=True) as folder:
                folder.append(NAME, line, HEADER, MAX_BYTES)
        except (OSError, Untrusted) as failed:
            self._refuse(path, failed)
            self._folder = None

    def _refuse(self, path: str, failed: Exception) -> None:
        self.refused = f"{path}: {failed}"
        log.warning("digest_cache_refused", reason=self.refused)
