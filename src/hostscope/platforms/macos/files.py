"""Content of executables."""

import hashlib
import os
import stat as modes
from io import BufferedReader
from typing import BinaryIO

from hostscope.errors import Unavailable
from hostscope.model.dump import Reserve
from hostscope.model.key import ProcessKey
from hostscope.model.package import FileOwner
from hostscope.model.process import Digest, Executable
from hostscope.model.signature import Seal
from hostscope.platforms.hashable import check_size
from hostscope.platforms.macos import translate
from hostscope.platforms.macos.image import running_image
from hostscope.platforms.macos.privileges import READ_OTHERS, Privileges

MOST_KNOWN = 4096
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
Stamp = tuple[int, int, int, int, int]


class Files:
    """Implements `hostscope.platforms.base.Files`."""

    def __init__(self, privileges: Privileges) -> None:
        self._privileges = privileges
        self._known: dict[Stamp, str] = {}

    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        """SHA-256 and modes of the file that the process runs.

        There is no handle of a running image: the file at its path counts if its inode is the one that the kernel names
        for the first region of the process that has a file, and if it is the same after it was read.

        Raises:
            Gone, Denied, Unavailable
        """
        with self._privileges.using(READ_OTHERS, f"read the program of process {key.pid}"):
            image = running_image(key.pid)
            try:
                return self._read(exe.path, image)
            except OSError as failed:
                raise translate.error(f"open {exe.path}", failed) from failed

    def _read(self, path: str, image: int | None) -> Digest:
        with open(os.open(path, _FLAGS), "rb") as file:
            found = os.fstat(file.fileno())
            if not modes.S_ISREG(found.st_mode):
                raise Unavailable(f"{path} is no regular file")
            if image is not None and found.st_ino != image:
                raise Unavailable(f"{path} is not the file that runs: it was replaced")
            sha256 = self._sha256(file, found, path)
        setuid, setgid = bool(found.st_mode & modes.S_ISUID), bool(found.st_mode & modes.S_ISGID)
        return Digest(sha256, found.st_size, setuid=setuid, setgid=setgid)

    def _sha256(self, file: BufferedReader, found: os.stat_result, path: str) -> str:
        stamp = _stamp(found)
        known = self._known.get(stamp)
        if known is not None:
            return known
        check_size(found.st_size)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _stamp(os.fstat(file.fileno())) != stamp:
            raise Unavailable(f"{path} was written to while it was read")
        if len(self._known) >= MOST_KNOWN:
            self._known.pop(next(iter(self._known)))
        self._known[stamp] = digest
        return digest

    def matches(self, key: ProcessKey, exe: Executable, owner: FileOwner) -> bool | None:
        """None: receipts of packages have no digests of files."""
        return None

    def seals(self, file: BinaryIO) -> tuple[Seal, ...]:
        """None: macOS keeps signatures in the files themselves."""
        return ()

    def changed_at_ns(self, file: BinaryIO) -> int:
        """Of the inode (st_ctime), which only setting the system's clock can forge."""
        try:
            return os.fstat(file.fileno()).st_ctime_ns
        except OSError as failed:
            raise Unavailable(f"the file cannot be looked at: {failed.strerror}") from failed

    def catalogs(self, file: BinaryIO) -> tuple[str, ...]:
        """None: macOS has no catalogues."""
        return ()

    def reserve(self, fd: int) -> Reserve | None:
        """None: APFS finds blocks when it writes them out."""
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
