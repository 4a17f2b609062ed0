"""Content of executables: the file that a process runs."""

import os
import stat
from collections import OrderedDict
from typing import BinaryIO

from hostscope.errors import Error, Unavailable, Unsupported
from hostscope.model.dump import Reserve
from hostscope.model.key import ProcessKey
from hostscope.model.package import FileOwner
from hostscope.model.process import Digest, Executable
from hostscope.model.signature import Seal
from hostscope.platforms import base_memory
from hostscope.platforms.hashable import check_size
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.clock import filetime_ns
from hostscope.platforms.windows.native import wintrust
from hostscope.platforms.windows.native.file_times import change_time_of

PIECE_BYTES = 1 << 20
MAX_REMEMBERED = 4096

Stamp = tuple[int, int, int, int]
"""Volume, file index, size and time of the last write: of one file in one state."""


class Files:
    """Implements `hostscope.platforms.base.Files`. Not for use by several threads."""

    def __init__(self, memory: base_memory.Memory) -> None:
        """`memory` opens the file of a process that is meant by its key."""
        self._memory = memory
        self._known: OrderedDict[tuple[Stamp, str], str] = OrderedDict()

    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        """SHA-256 and size of the file that the process runs.

        Digests are remembered for this run only, by file and state: nobody can write to the file of a running program,
        and the time of a file's last write is whatever its owner sets.

        Raises:
            Gone, Denied, Mismatch
            Unavailable: the process has no program, its file has another name now, or is too large.

        Cost: four calls to open it, two for a file in a known state, else reading it.
        """
        with self._memory.executable(key) as file:
            found = _status(file, key)
            return Digest(self._hash(file, found, "sha256", key), found.st_size)

    def matches(self, key: ProcessKey, exe: Executable, owner: FileOwner) -> bool | None:
        """None: Windows has no database with digests; `signature` tells whether a file is its maker's."""
        return None

    def seals(self, file: BinaryIO) -> tuple[Seal, ...]:
        """None: Windows keeps signatures in the files themselves, or in catalogues."""
        return ()

    def changed_at_ns(self, file: BinaryIO) -> int:
        """The file system's own time of change, which no function of the Windows API sets.

        NtSetInformationFile does, for whoever may write a file's attributes: so it is good within one answer, and not
        for keeping what was found. File systems without it (FAT) have nothing.

        Raises:
            Unsupported: the file system keeps none. NativeError, Denied
        """
        try:
            changed = change_time_of(file.fileno())
        except OSError as failed:
            raise translate.error(getattr(failed, "call", "the file"), failed) from failed
        if changed <= 0:
            raise Unsupported("the file system keeps no time of changes")
        return filetime_ns(changed)

    def catalogs(self, file: BinaryIO) -> tuple[str, ...]:
        """Windows' own files mostly have no signature in them: catalogues list their digests, by either algorithm.

        Raises:
            Denied, Unsupported, NativeError: neither algorithm can be asked.

        Source: CryptCATAdminEnumCatalogFromHash; before Windows 8, and on Wine, by SHA-1 only.
        """
        found, refusals = list[str](), list[Error]()
        for algorithm in wintrust.ALGORITHMS:
            try:
                found += wintrust.catalogs_of(file.fileno(), algorithm)
            except Unsupported as missing:
                refusals.append(missing)
            except OSError as failed:
                refusals.append(translate.error(getattr(failed, "call", "the catalogues"), failed))
        if len(refusals) == len(wintrust.ALGORITHMS):
            raise refusals[0]
        return tuple(dict.fromkeys(found))

    def reserve(self, fd: int) -> Reserve | None:
        """None: nobody has measured that it would help."""
        return None

    def _hash(self, file: BinaryIO, found: os.stat_result, algorithm: str, key: ProcessKey) -> str:
        place = (_stamp(found), algorithm)
        known = self._known.get(place)
        if known is None:
            check_size(found.st_size)
            known = _hash_file(file, algorithm, key)
            if _stamp(_status(file, key)) != place[0]:
                raise Unavailable(f"process {key.pid}: its file was written to while it was read", "ask again")
            self._known[place] = known
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return known


def _status(file: BinaryIO, key: ProcessKey) -> os.stat_result:
    try:
        found = os.fstat(file.fileno())
    except OSError as failed:
        raise Unavailable(f"process {key.pid}: its file cannot be read: {failed.strerror}") from failed
    if not stat.S_ISREG(found.st_mode):
        raise Unavailable(f"process {key.pid}: its path leads to something else than a file")
    return found


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _hash_file(file: BinaryIO, algorithm: str, key: ProcessKey) -> str:
    import hashlib  # loads OpenSSL: 3 ms that a process list need not pay

    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    except OSError as failed:
        raise Unavailable(f"process {key.pid}: its file cannot be read: {failed.strerror}") from failed
    return digest.hexdigest()
