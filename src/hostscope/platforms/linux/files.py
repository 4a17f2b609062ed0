"""Content of executables: the running image, whatever stands at its path now."""

import errno
import os
import stat
import time
from typing import BinaryIO

from hostscope.errors import Denied, Error, Gone, Unavailable
from hostscope.model.dump import Reserve
from hostscope.model.key import ProcessKey
from hostscope.model.package import FileOwner
from hostscope.model.process import Digest, Executable
from hostscope.model.signature import Seal
from hostscope.model.text import encode
from hostscope.platforms.hashable import check_size
from hostscope.platforms.linux.digest_cache import DigestCache, FileStamp
from hostscope.platforms.linux.file_capabilities import ATTRIBUTE, parse_file_capabilities
from hostscope.platforms.linux.packages import ALGORITHMS, hash_file
from hostscope.platforms.linux.parse import parse_stat
from hostscope.platforms.linux.privileges import READ_OTHERS, Privileges
from hostscope.platforms.linux.read import PATH_ONLY, read_at
from hostscope.platforms.linux.seals import read_seals
from hostscope.platforms.linux.translate import PTRACE_HINT, REFUSED, error
from hostscope.platforms.linux.trusted import cache_folder

SETTLED_NS = 2_000_000_000
"""A file that changed less than this ago is not remembered: a second change within one tick of the file system's clock
(4 ms, 2 s on FAT) would leave its stamp as it is."""

_NONE = {errno.ENODATA, errno.ENOTSUP}


class Files:
    """Implements `hostscope.platforms.base.Files`. Not for use by several threads."""

    def __init__(
        self,
        proc: str = "/proc",
        cache: DigestCache | None = None,
        settled_ns: int = SETTLED_NS,
        privileges: Privileges | None = None,
    ) -> None:
        self._privileges = privileges
        self._proc = proc
        self._cache = cache or DigestCache(cache_folder())
        self._settled_ns = settled_ns

    def digest(self, key: ProcessKey, exe: Executable) -> Digest:
        """SHA-256, modes and capabilities of the image that the process runs now.

        /proc/PID/exe is the image itself, deleted or replaced as its file may be. Where it cannot be opened, the file
        at its path is read instead, first below the process's own root, if it has the same device and inode as `exe`.

        Raises:
            Gone: the process ended (also when its pid is another's now).
            Denied: neither may be opened.
            Unavailable: the process has no executable, it is too large, or it was written to while it was read.

        Source: /proc/PID/exe; ``security.capability``.
        Cost: about ten system calls for a file in a known state, else reading it (0.7 s for a GiB in memory).
        """
        file = self._open(key, exe)
        try:
            return self._digest(file)
        except OSError as failed:
            raise Unavailable(f"process {key.pid}: its executable cannot be read: {failed.strerror}") from failed
        finally:
            os.close(file)

    def matches(self, key: ProcessKey, exe: Executable, owner: FileOwner) -> bool | None:
        """Whether the running image is what its package brought; None when the database has no digest to compare.

        Raises and costs as `digest` does, once more for databases that have MD5 only.
        """
        algorithm = owner.digest_algorithm
        if algorithm is None or owner.digest is None or algorithm not in ALGORITHMS:
            return None
        file = self._open(key, exe)
        try:
            return self._hash(file, algorithm) == owner.digest
        except OSError as failed:
            raise Unavailable(f"process {key.pid}: its executable cannot be read: {failed.strerror}") from failed
        finally:
            os.close(file)

    def seals(self, file: BinaryIO) -> tuple[Seal, ...]:
        """IMA's and EVM's attributes, and fs-verity's digest. See `hostscope.platforms.linux.seals`."""
        return read_seals(file.fileno())

    def changed_at_ns(self, file: BinaryIO) -> int:
        """Of the inode (st_ctime), which only setting the system's clock can forge."""
        try:
            return os.fstat(file.fileno()).st_ctime_ns
        except OSError as failed:
            raise Unavailable(f"the file cannot be looked at: {failed.strerror}") from failed

    def catalogs(self, file: BinaryIO) -> tuple[str, ...]:
        """None: Linux has no catalogues."""
        return ()

    def reserve(self, fd: int) -> Reserve | None:
        """Blocks of a file system on a disk. Elsewhere (tmpfs) they would be pages, and take as long again.

        Without, ext4 counts and notes each page that is written as one that has to find a block later: 0.35 s instead
        of 0.20 s for 2 GiB, and 1.3 instead of 1.1 s until all of it is on the disk (measured on 6.18).

        Source: fallocate(2), Linux 2.6.23.
        Cost: 5 us and more, each time.
        """
        from hostscope.platforms.linux.native.libc import fallocate

        def reserve(offset: int, size: int) -> bool:
            try:
                fallocate(fd, offset, size)
            except OSError:  # not on this file system, or no room: writing tells
                return False
            return True

        on_disk = os.major(os.fstat(fd).st_dev)  # 0: on no block device
        return reserve if on_disk else None

    def _digest(self, file: int) -> Digest:
        found = os.fstat(file)
        return Digest(
            sha256=self._hash(file, "sha256"),
            size_bytes=found.st_size,
            setuid=bool(found.st_mode & stat.S_ISUID),
            setgid=found.st_mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP,
            file_capabilities=_capabilities(file),
        )

    def _hash(self, file: int, algorithm: str) -> str:
        before = FileStamp.of(os.fstat(file))
        known = self._cache.get(before, algorithm)
        if known:
            return known
        check_size(before.size_bytes)
        digest = hash_file(file, algorithm)
        if FileStamp.of(os.fstat(file)) != before:
            raise Unavailable("the executable was written to while it was read", "ask again")
        if time.time_ns() - before.ctime_ns >= self._settled_ns:
            self._cache.put(before, algorithm, digest)
        return digest

    def _open(self, key: ProcessKey, exe: Executable) -> int:
        """A descriptor of the running image; privileges are raised only where it cannot be had without."""
        try:
            return self._open_plainly(key, exe)
        except Denied:
            if self._privileges is None or not self._privileges.available(READ_OTHERS):
                raise
        with self._privileges.using(READ_OTHERS, f"open the executable of process {key.pid}"):
            return self._open_plainly(key, exe)

    def _open_plainly(self, key: ProcessKey, exe: Executable) -> int:
        try:
            directory = os.open(f"{self._proc}/{key.pid}", PATH_ONLY)
        except OSError as failed:
            raise error("open", failed, key.pid) from failed
        try:
            return self._open_image(directory, key, exe)
        finally:
            os.close(directory)

    def _open_image(self, directory: int, key: ProcessKey, exe: Executable) -> int:
        _check(directory, key)
        try:
            return os.open("exe", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        except OSError as failed:
            file = _by_path(directory, exe)
            if file is None:
                raise _reason(key.pid, directory, failed) from failed
            return file


def _check(directory: int, key: ProcessKey) -> None:
    """Raises `Gone` when the directory is another process's than the key's."""
    try:
        start = parse_stat(read_at(directory, "stat")).start
    except OSError as failed:
        raise error("read", failed, key.pid) from failed
    if start != key.start:
        raise Gone(f"process {key} is gone; its pid is another's now")


def _by_path(directory: int, exe: Executable) -> int | None:
    """The file at the executable's path, if it is the same file for sure."""
    if exe.device is None or exe.inode is None or exe.deleted:
        return None
    for path, start in ((b"root" + encode(exe.path), directory), (encode(exe.path), None)):
        try:
            file = _open_same(path, start, (exe.device, exe.inode))
        except OSError:
            continue
        if file is not None:
            return file
    return None


def _open_same(path: bytes, start: int | None, wanted: tuple[int, int]) -> int | None:
    """Opens a path only if it leads to the wanted (device, inode): opening a device, which it could be by now, acts."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=start)
    try:
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) != wanted:
            return None
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)


def _reason(pid: int, directory: int, failed: OSError) -> Error:
    """Kernel threads and zombies have no executable: ENOENT although they are there."""
    if failed.errno in REFUSED:
        return Denied(f"process {pid}: its executable may not be read", PTRACE_HINT)
    if failed.errno == errno.ENOENT:
        try:
            read_at(directory, "stat")
        except OSError as ended:
            return error("read", ended, pid)
        return Unavailable(f"process {pid} has no executable")
    return error("open", failed, pid)


def _capabilities(file: int) -> tuple[str, ...] | None:
    """Names in the file's capability sets; None when they cannot be read or are not understood."""
    try:
        return parse_file_capabilities(os.getxattr(file, ATTRIBUTE)).names
    except OSError as failed:
        return () if failed.errno in _NONE else None
    except ValueError:
        return None
